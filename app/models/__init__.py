"""Models: reading GGUF headers, describing known models, and writing small models in their shape."""
