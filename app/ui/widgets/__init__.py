"""What the views are made of. Widgets take plain values and know nothing of the app."""
