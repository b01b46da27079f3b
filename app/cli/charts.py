"""Bars, lines and columns in text cells. They are read without colour: every kind has its own glyph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias

from app.cli.spans import Line, line

Part: TypeAlias = tuple[float, str, str]
"""Amount, glyph, style."""

Point: TypeAlias = tuple[float, float]
"""Where, and how much."""

FREE = "░"
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_BRAILLE = 0x2800
_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, then by dot row from the top
_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def cells(amounts: Sequence[float], total: float, width: int) -> list[int]:
    """How many of `width` cells each amount gets.

    What is more than nothing gets one, taken from the largest where need be, as long as there are cells for all.
    """
    if total <= 0:
        return [0 for _ in amounts]
    edges = [round(width * min(1.0, running / total)) for running in accumulate(amounts, initial=0.0)]
    counts = [right - left for left, right in pairwise(edges)]
    for index, amount in enumerate(amounts):
        if amount <= 0 or counts[index]:
            continue
        if sum(counts) >= width:
            largest = max(range(len(counts)), key=counts.__getitem__)
            if counts[largest] < 2:
                continue
            counts[largest] -= 1
        counts[index] = 1
    return counts


def bar(parts: Sequence[Part], total: float, width: int, free: str = FREE) -> Line:
    """A bar of exactly `width` cells: the parts in order, then what is free."""
    counts = cells([amount for amount, _, _ in parts], total, width)
    drawn = [(glyph * count, style) for (_, glyph, style), count in zip(parts, counts, strict=True) if count]
    return (*drawn, (free * (width - sum(counts)), "dim"))


def nice_top(highest: float, ticks: int) -> tuple[float, float]:
    """Top of an axis that holds `highest`, and the step of its labels, in figures that people count by."""
    if highest <= 0:
        return 1.0, 1.0
    raw = highest / max(1, ticks)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in _STEPS if factor * power >= raw * (1 - 1e-9))
    return step * math.ceil(highest / step - 1e-9), step


def line_chart(
    title: str, points: Sequence[Point], width: int, height: int, at_text: Callable[[float], str], style: str = "cyan"
) -> list[Line]:
    """A line through points, with a labelled axis on the left and the first and last places below.

    Args:
        title: above the chart.
        points: in the order of their places, at least two.
        width: cells, the axis included.
        height: rows of the plot alone; title and axis take three more.
        at_text: how a place is written.
        style: of the line.
    """
    top, step = nice_top(max(value for _, value in points), max(1, height // 2))
    labels = {_row(tick * step, top, height): f"{tick * step:g}" for tick in range(round(top / step), 0, -1)}
    gutter = max(len(text) for text in labels.values())
    room = max(4, width - gutter - 1)
    drawn = [line(title[:width], "bold")]
    for row, text in enumerate(_braille(points, room, height, top)):
        label = labels.get(row, "")
        drawn.append(((f"{label:>{gutter}}{'┤' if label else '│'}", "dim"), (text, style)))
    drawn.append(line(f"{0:>{gutter}}┼{'─' * room}", "dim"))
    drawn.append(line(" " * (gutter + 1) + _places(points, room, at_text), "dim"))
    return drawn


def _row(value: float, top: float, height: int) -> int:
    return min(height - 1, max(0, height - 1 - math.floor(value / top * height * (1 - 1e-9))))


def _braille(points: Sequence[Point], width: int, height: int, top: float) -> list[str]:
    grid = [[0] * width for _ in range(height)]
    dots, columns = height * 4, width * 2
    first, last = points[0][0], points[-1][0]
    before: int | None = None
    for x in range(columns):
        value = _between(points, first + (last - first) * x / (columns - 1))
        y = dots - 1 - min(dots - 1, max(0, round(value / top * (dots - 1))))
        low, high = (y, y) if before is None else sorted((y, before + (y > before) - (y < before)))
        for dot in range(low, high + 1):
            grid[dot // 4][x // 2] |= _BITS[x % 2][dot % 4]
        before = y
    return ["".join(chr(_BRAILLE | cell) if cell else " " for cell in row) for row in grid]


def _between(points: Sequence[Point], at: float) -> float:
    """The value at a place, on the straight line between its neighbours."""
    for (left, low), (right, high) in pairwise(points):
        if at <= right:
            return low + (high - low) * (at - left) / (right - left) if right > left else high
    return points[-1][1]


def _places(points: Sequence[Point], width: int, at_text: Callable[[float], str]) -> str:
    """The ends of the axis, and its middle where there is room."""
    first, last = at_text(points[0][0]), at_text(points[-1][0])
    middle = at_text((points[0][0] + points[-1][0]) / 2)
    if len(first) + len(middle) + len(last) + 8 > width:
        middle = ""
    left = (width - len(middle)) // 2 - len(first)
    return f"{first}{' ' * left}{middle}".ljust(width - len(last)) + last


def column_chart(
    title: str,
    points: Sequence[Point],
    width: int,
    height: int,
    texts: tuple[Callable[[float], str], Callable[[float], str]],
    style: str = "cyan",
) -> list[Line]:
    """A column for each point, with its value and its place below.

    Args:
        title: above the chart.
        points: at least one.
        width: cells.
        height: rows of the columns alone; title, values and places take three more.
        texts: how a place and how a value is written.
        style: of the columns.
    """
    at_text, value_text = texts
    places, values = [at_text(at) for at, _ in points], [value_text(value) for _, value in points]
    each = min(width // len(points), max(6, *(len(text) + 1 for text in (*places, *values))))
    top = max(value for _, value in points) or 1.0
    drawn = [line(title[:width], "bold")]
    for row in range(height):
        levels = (min(8, max(0, round(value / top * height * 8) - (height - 1 - row) * 8)) for _, value in points)
        drawn.append(line("".join(f" {_EIGHTHS[level] * (each - 2)} " for level in levels), style))
    drawn.append(line("".join(f"{text:^{each}}" for text in values)))
    drawn.append(line("".join(f"{text:^{each}}" for text in places), "dim"))
    return drawn
