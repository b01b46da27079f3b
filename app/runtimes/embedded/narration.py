"""The engine's own lines in the log that the parent reads, between llama.cpp's."""

from __future__ import annotations

import contextlib
import os


def say(text: str) -> None:
    """Write one line to stderr at once. Whoever read it may be gone: the engine then goes on in silence."""
    with contextlib.suppress(OSError):
        os.write(2, f"{text}\n".encode("utf-8", "replace"))
