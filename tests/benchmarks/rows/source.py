"""The cells of a table of published measurements, read as what they say: numbers, ranges, sizes, dates."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

Cells = dict[str, str]
"""One line of the table by column; a column that the file lacks reads as empty."""

_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(GiB|GB|G\b|MiB|MB|TB)", re.IGNORECASE)
_UNITS = {"gib": 2**30, "gb": 1e9, "g": 1e9, "mib": 2**20, "mb": 1e6, "tb": 1e12}


def read_cells(path: Path) -> Iterator[Cells]:
    """The lines of a CSV file, cells stripped.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for line in csv.DictReader(file):
            yield {str(key): (value or "").strip() for key, value in line.items() if isinstance(value, str | None)}


def cell(cells: Cells, *names: str) -> str:
    """The first of these columns that holds something."""
    return next((cells[name] for name in names if cells.get(name)), "")


def number(text: str) -> float | None:
    """The number that a cell states: `18.2`, `~60`, `1,024`, the middle of `62.8-62.9`, the sum of `1792+1008` not."""
    found = [float(match.replace(",", "")) for match in _NUMBER.findall(text)]
    if not found:
        return None
    if len(found) >= 2 and re.match(r"^\s*~?[\d.,]+\s*[-–]\s*[\d.,]+", text):
        return (found[0] + found[1]) / 2
    return found[0]


def size_bytes(text: str) -> int | None:
    """A size with its unit within a text: `UD-Q4_K_XL (19.69 GB)`."""
    match = _SIZE.search(text)
    return round(float(match[1]) * _UNITS[match[2].lower()]) if match else None
