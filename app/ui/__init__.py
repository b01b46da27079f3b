"""The terminal UI: the only layer that draws."""
