"""Reading the kernel's numbers from text that may be damaged."""

from __future__ import annotations

_MOST_DIGITS = 20  # of a 64-bit number; Python refuses to read very long ones with an exception


def natural(text: str | None) -> int | None:
    """A decimal number of at most 64 bits; `None` for what is none."""
    if text is None or not text.isascii() or not text.isdecimal() or len(text) > _MOST_DIGITS:
        return None
    value = int(text)
    return value if value < 1 << 64 else None
