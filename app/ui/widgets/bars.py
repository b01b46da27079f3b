"""Horizontal bars of text cells: memory, load, shares of a token's time. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content


@dataclass(frozen=True, slots=True)
class Part:
    """One stretch of a bar. The glyph tells it apart without colour."""

    amount: float
    glyph: str
    style: str


FREE = "░"


def cells(amounts: Sequence[float], total: float, width: int) -> list[int]:
    """How many of `width` cells each amount gets.

    Whatever is more than nothing gets a cell where there is room, and the sum never exceeds `width`; rounding happens
    on the running sum, so that a bar is as long as its parts together are.
    """
    if total <= 0 or width <= 0:
        return [0 for _ in amounts]
    taken, running, result = 0, 0.0, []
    for amount in amounts:
        running += max(0.0, amount)
        end = min(width, round(width * running / total))
        if amount > 0 and end <= taken:
            end = min(width, taken + 1)
        result.append(max(0, end - taken))
        taken = max(taken, end)
    return result


def bar(parts: Sequence[Part], total: float, width: int, *, free: str = FREE) -> Content:
    """A bar of exactly `width` cells: the parts in order, then what is free."""
    counts = cells([part.amount for part in parts], total, width)
    rest = max(0, width - sum(counts))
    pieces = [(part.glyph * count, part.style) for part, count in zip(parts, counts, strict=True) if count]
    return Content.assemble(*pieces, (free * rest, "$faint"))


def unknown_bar(width: int) -> Content:
    """In place of a bar whose value is not known."""
    return Content.styled("·" * max(0, width), "$faint")
