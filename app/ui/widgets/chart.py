"""A chart of tokens per second over time, drawn by the line API.

The rows are computed once per sample or resize and cached as strips of a few segments each: measured at about a tenth
of the cost of a full plotting library. The functions are pure; the widget only keeps values and colours.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Literal

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from app.units import rate_text

Glyphs = Literal["braille", "block"]
Band = tuple[float, float]

BLOCKS = " ▁▂▃▄▅▆▇█"
BAND_GLYPH = "░"
_BRAILLE_BASE = 0x2800
_BRAILLE_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # by column, then by dot row from the top
_NICE_STEPS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def nice_step(top: float, ticks: int) -> float:
    """The least step that people count by (1, 1.5, 2, 2.5, 3 ...) with which at most `ticks` of them reach `top`."""
    if top <= 0:
        return 1.0
    raw = top / max(1, ticks)
    power = 10.0 ** math.floor(math.log10(raw))
    return next(step * power for step in _NICE_STEPS if step * power >= raw * (1 - 1e-9))


@dataclass(frozen=True, slots=True)
class Scale:
    """The y axis: from 0 to `top`, a label every `step`."""

    top: float
    step: float

    @classmethod
    def over(cls, values: Sequence[float | None], band: Band | None, height: int) -> Scale:
        """A scale that holds all values and the band, with a label every two or more rows."""
        highest = max([v for v in values if v is not None] + ([band[1]] if band else []), default=0.0)
        ticks = max(1, min(5, height // 2))
        step = nice_step(highest * 1.04 if highest > 0 else float(ticks), ticks)
        return cls(top=step * max(1, math.ceil(highest * 1.04 / step)), step=step)

    def row_of(self, value: float, height: int) -> int:
        """The row, 0 at the top, in which a value lies."""
        return min(height - 1, max(0, height - 1 - math.floor(value / self.top * height * (1 - 1e-9))))

    def labels(self, height: int) -> dict[int, str]:
        """Row -> label; the top tick first, so that it survives where two fall into one row."""
        count = round(self.top / self.step)
        found: dict[int, str] = {}
        for tick in range(count, -1, -1):
            value = tick * self.step
            row = self.row_of(value, height) if tick else height - 1
            found.setdefault(row, f"{value:g}")
        return found


def braille_rows(values: Sequence[float | None], width: int, height: int, top: float) -> list[str]:
    """A line through the newest 2 x width values in `width` x `height` cells, blank cells as spaces.

    Neighbouring values are joined; `None` leaves a gap.
    """
    dots = height * 4
    grid = [[0] * width for _ in range(height)]
    newest = list(values)[-width * 2 :]
    start = width * 2 - len(newest)
    before: int | None = None
    for offset, value in enumerate(newest):
        if value is None:
            before = None
            continue
        x = start + offset
        y = dots - 1 - min(dots - 1, max(0, round(value / top * (dots - 1))))
        low, high = (y, y) if before is None else sorted((y, before + (y > before) - (y < before)))
        for dot in range(low, high + 1):
            grid[dot // 4][x // 2] |= _BRAILLE_BITS[x % 2][dot % 4]
        before = y
    return ["".join(chr(_BRAILLE_BASE | cell) if cell else " " for cell in row) for row in grid]


def block_rows(values: Sequence[float | None], width: int, height: int, top: float) -> list[str]:
    """Columns of the newest `width` values, for terminals whose font has no braille; `None` leaves a gap."""
    newest = list(values)[-width:]
    rows = [[" "] * width for _ in range(height)]
    for offset, value in enumerate(newest):
        if value is None:
            continue
        eighths = min(height * 8, max(1, round(value / top * height * 8)))
        for row in range(height):
            level = min(8, max(0, eighths - (height - 1 - row) * 8))
            rows[row][width - len(newest) + offset] = BLOCKS[level]
    return ["".join(row) for row in rows]


def time_axis(width: int, seconds: float) -> str:
    """`-2:00 ... now` under the plot."""
    left = f"-{int(seconds) // 60}:{int(seconds) % 60:02d}"
    half = f"-{int(seconds / 2) // 60}:{int(seconds / 2) % 60:02d}"
    if width < len(left) + len(half) + 12:
        return f"{left}{'now':>{max(3, width - len(left))}}"[:width]
    middle = f"{half:^{width - len(left) - 3}}"
    return f"{left}{middle}now"


def spans(row: str, *, in_band: bool) -> Iterator[tuple[str, bool]]:
    """A row as runs of (text, is it the line): blanks inside the band are shaded."""
    for is_blank, run in groupby(row, key=lambda cell: cell == " "):
        text = "".join(run)
        yield (text.replace(" ", BAND_GLYPH) if is_blank and in_band else text), not is_blank


def default_glyphs() -> Glyphs:
    """Blocks on the Linux console, whose font has no braille; braille elsewhere."""
    return "block" if os.environ.get("TERM") == "linux" else "braille"


class Chart(Widget):
    """Values over time, newest at the right, with a legend above and an optional predicted band.

    Args:
        title: what the values are, such as `decode t/s`.
        interval_s: time between two values.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"chart--line", "chart--axis", "chart--band", "chart--title"}
    DEFAULT_CSS = """
    Chart { height: 1fr; min-height: 4; }
    Chart .chart--line { color: $primary; }
    Chart .chart--axis { color: $text-muted; }
    Chart .chart--band { color: $success 45%; }
    Chart .chart--title { color: $foreground; text-style: bold; }
    """

    def __init__(
        self,
        title: str,
        *,
        interval_s: float = 0.5,
        glyphs: Glyphs | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.title = title
        self.interval_s = interval_s
        self.glyphs: Glyphs = glyphs or default_glyphs()
        self.band: Band | None = None
        self.values: Sequence[float | None] = ()
        self._strips: list[Strip] | None = None
        self._line_styles: dict[str, Style] = {}

    def show(self, values: Sequence[float | None], band: Band | None = None) -> None:
        """Draw these values, oldest first."""
        if not any(value is not None for value in (*values, *self.values)) and band == self.band:
            return  # still nothing to see
        self.values, self.band = values, band
        before, self._strips = self._strips, None
        if before is None or not self.size:
            self.refresh()
            return
        self._strips = self._compute(self.size)
        changed = [y for y, (old, new) in enumerate(zip(before, self._strips, strict=False)) if old != new]
        if changed:  # the compositor redraws these rows only: most rows of a chart are blank or band
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def notify_style_update(self) -> None:
        """Draw again when the theme changes."""
        super().notify_style_update()
        self._strips = None
        self._line_styles.clear()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._strips = None

    def render_line(self, y: int) -> Strip:
        """One cached row."""
        if self._strips is None:
            self._strips = self._compute(self.size)
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width)

    def legend(self, width: int) -> str:
        """`decode t/s  now 44.7  min 39.1  max 46.0  predicted 39 to 50`; the extremes give way first."""
        known = [value for value in self.values if value is not None]
        now = self.values[-1] if self.values else None
        head = [self.title, f"now {'-' if now is None else rate_text(now)}"]
        extremes = [f"min {rate_text(min(known))}", f"max {rate_text(max(known))}"] if known else []
        span = f"{rate_text(self.band[0])} to {rate_text(self.band[1])}" if self.band else ""
        predicted = [f"{BAND_GLYPH} predicted {span}"] if span else []
        short = [f"{BAND_GLYPH} {span}"] if span else []
        for parts in ([*head, *extremes, *predicted], [*head, *predicted]):
            if len(text := "  ".join(parts)) <= width:
                return text
        return "  ".join([*head, *short])[:width]

    def _compute(self, size: Size) -> list[Strip]:
        height = max(1, size.height - 2)
        per_cell = 2 if self.glyphs == "braille" else 1
        shown = list(self.values)[-size.width * per_cell :]
        scale = Scale.over(shown, self.band, height)
        labels = scale.labels(height)
        gutter = max(len(label) for label in labels.values())
        width = max(1, size.width - gutter - 1)
        draw = braille_rows if self.glyphs == "braille" else block_rows
        rows = draw(self.values, width, height, scale.top)
        banded = _band_rows(self.band, scale, height)
        line, axis, band = (self._style(name) for name in ("line", "axis", "band"))
        strips = [Strip([Segment(self.legend(size.width), self._style("title"))])]
        for y, row in enumerate(rows):
            label = labels.get(y, "")
            segments = [Segment(f"{label:>{gutter}}{'┤' if label else '│'}", axis)]
            segments += [Segment(text, line if is_line else band) for text, is_line in spans(row, in_band=y in banded)]
            strips.append(Strip(segments))
        axis_text = " " * (gutter + 1) + time_axis(width, width * per_cell * self.interval_s)
        strips.append(Strip([Segment(axis_text, axis)]))
        blank = self.rich_style
        return [strip.adjust_cell_length(size.width, blank) for strip in strips]

    def _style(self, name: str) -> Style:
        if name not in self._line_styles:
            self._line_styles[name] = self.get_component_rich_style(f"chart--{name}")
        return self._line_styles[name]


def _band_rows(band: Band | None, scale: Scale, height: int) -> range:
    if band is None:
        return range(0)
    return range(scale.row_of(band[1], height), scale.row_of(band[0], height) + 1)
