"""The views and what stands in front of them."""
