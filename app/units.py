"""Reading and writing quantities. Bytes are binary (GiB), bandwidths decimal (GB/s), as the field writes them."""

from __future__ import annotations

import re

KIB = 1024
MIB = 1024**2
GIB = 1024**3

_BYTE_UNITS = {
    "": 1, "b": 1,
    "k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB, "gib": GIB, "t": 1024 * GIB, "tib": 1024 * GIB,
    "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4,
}  # fmt: skip
_QUANTITY = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_bytes(text: str) -> int:
    """Read a size such as `8GiB`, `512m` or `1.5 GB`; a bare number is bytes.

    Raises:
        ValueError: the text is no size.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2].lower() not in _BYTE_UNITS:
        raise ValueError(f"{text!r} is not a size; write it like 8GiB or 512MiB")
    return round(float(match[1]) * _BYTE_UNITS[match[2].lower()])


def parse_count(text: str) -> int:
    """Read a count of tokens such as `96K` or `131072` (K is 1024, as context lengths are written).

    Raises:
        ValueError: the text is no count.
    """
    match = re.fullmatch(r"\s*([0-9]+)\s*([kKmM]?)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a count; write it like 32768 or 32K")
    return int(match[1]) * {"": 1, "k": KIB, "m": MIB}[match[2].lower()]


def bytes_text(value: int | None) -> str:
    """`62.4 GiB`, `180 MiB`, `n/a`."""
    if value is None:
        return "n/a"
    if abs(value) >= GIB:
        return f"{value / GIB:.1f} GiB"
    if abs(value) >= MIB:
        return f"{value / MIB:.0f} MiB"
    return f"{value / KIB:.0f} KiB" if abs(value) >= KIB else f"{value} B"


def rate_text(value: float | None) -> str:
    """Tokens per second with three digits that mean something: `44.7`, `612`, `n/a`."""
    if value is None:
        return "n/a"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def count_text(value: int) -> str:
    """A token count as people say it: `96K`, `131072` stays `128K`, `500` stays `500`."""
    return f"{value // KIB}K" if value >= KIB and value % KIB == 0 else str(value)
