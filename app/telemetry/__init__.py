"""Watching an engine and its machine while they run."""
