"""Running an engine: its process, its log, and who owns it."""
