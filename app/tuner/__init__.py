"""Measured trials: what is timed on this machine, and what it tells of the speed model's constants."""
