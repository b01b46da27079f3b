"""Text in pieces with styles, so that widths are counted before colour is added."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import TypeAlias

from app.cli.output import painted

Span: TypeAlias = tuple[str, str]
"""Text, and the name of its style; empty: as it is."""

Line: TypeAlias = tuple[Span, ...]


def line(text: str, style: str = "") -> Line:
    """A line of one style."""
    return ((text, style),) if text else ()


def width_of(spans: Line) -> int:
    """Cells that a line takes."""
    return sum(len(text) for text, _ in spans)


def padded(spans: Line, width: int) -> Line:
    """The line, blank up to that width."""
    missing = width - width_of(spans)
    return (*spans, (" " * missing, "")) if missing > 0 else spans


def wrapped(text: str, width: int, *, first: Line = (), indent: int | None = None, style: str = "") -> list[Line]:
    """A paragraph in lines of at most `width` cells, the first after `first`, the others below its end.

    Words longer than the width (paths) are left whole.
    """
    left = width_of(first) if indent is None else indent
    pieces = textwrap.wrap(
        text, max(10, width - left), break_long_words=False, break_on_hyphens=False, drop_whitespace=True
    ) or [""]
    return [(*first, (pieces[0], style)), *((((" " * left), ""), (piece, style)) for piece in pieces[1:])]


def beside(blocks: Sequence[Sequence[Line]], width: int, gap: int = 3) -> list[Line]:
    """Blocks of lines next to each other, all as wide as `width`."""
    rows = []
    for row in zip_longest(*blocks, fillvalue=()):
        joined: list[Span] = []
        for index, one in enumerate(row):
            last = index == len(row) - 1
            joined += one if last else (*padded(one, width), (" " * gap, ""))
        rows.append(tuple(joined))
    return rows


def print_lines(lines: Iterable[Line]) -> None:
    """Lines on stdout, coloured where the terminal wants it, without blanks at their ends."""
    for spans in lines:
        print("".join(painted(text, style) if style else text for text, style in _stripped(spans)))


def _stripped(spans: Line) -> Line:
    kept = list(spans)
    while kept and not kept[-1][0].strip():
        kept.pop()
    if kept:
        kept[-1] = (kept[-1][0].rstrip(), kept[-1][1])
    return tuple(kept)
