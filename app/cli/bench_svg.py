"""Charts of benchmarks as one SVG document. Drawn here: no library is needed to look at it or to write it."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from app.cli.bench_curves import Chart, Curve
from app.cli.charts import nice_top
from app.units import count_text

WIDTH, HEIGHT = 720, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 52, 44
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Okabe and Ito's, which people tell apart who do not see all colours."""
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-weight:600;font-size:14px}"
    ".grid{stroke:#ddd}.line{fill:none;stroke-width:2}.predicted{stroke-dasharray:5 4;stroke-width:1.5}"
)


def svg_text(titles: Sequence[str], charts: Sequence[Chart]) -> str:
    """The charts below each other; measured lines are whole and have dots, predicted ones are dashed."""
    head = 22 * len(titles) + 12
    height = HEIGHT * len(charts) + head
    body = [
        f'<text class="title" x="{_RIGHT}" y="{22 * number}">{escape(title)}</text>'
        for number, title in enumerate(titles, start=1)
    ]
    for number, chart in enumerate(charts):
        body.append(f'<g transform="translate(0 {head + number * HEIGHT})">')
        body += _chart(chart)
        body.append("</g>")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f'<style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


class _Scale:
    """From figures to places on the paper."""

    def __init__(self, chart: Chart) -> None:
        across = [x for curve in chart.curves for x, _ in curve.points]
        self.top, self.step = nice_top(max(y for curve in chart.curves for _, y in curve.points), 5)
        self.first, self.last = min(across), max(across)

    def x(self, value: float) -> float:
        """From the left edge."""
        return _LEFT + (value - self.first) / (self.last - self.first) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        """From the chart's upper edge."""
        return HEIGHT - _BOTTOM - value / self.top * (HEIGHT - _TOP - _BOTTOM)


def _chart(chart: Chart) -> list[str]:
    scale = _Scale(chart)
    drawn = [f'<text class="title" x="{_LEFT}" y="16">{escape(chart.title)}</text>']
    for tick in range(round(scale.top / scale.step) + 1):
        y, value = scale.y(tick * scale.step), f"{tick * scale.step:g}"
        drawn.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    drawn += _places(chart, scale)
    colours: dict[str, str] = {}
    for curve in chart.curves:
        sweep = curve.name.split()[0]
        colour = colours.setdefault(sweep, _COLOURS[len(colours) % len(_COLOURS)])
        drawn += _curve(curve, scale, colour)
    drawn += _legend(chart, colours)
    return drawn


def _places(chart: Chart, scale: _Scale) -> list[str]:
    """Labels below the points, those left out that would run into each other."""
    drawn, free_from = [], 0.0
    for place in sorted({x for curve in chart.curves for x, _ in curve.points}):
        if scale.x(place) < free_from:
            continue
        free_from = scale.x(place) + 40
        label = count_text(int(place))
        drawn.append(f'<text x="{scale.x(place):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">{label}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    drawn.append(f'<text x="{middle:g}" y="{HEIGHT - _BOTTOM + 34}" text-anchor="middle">{escape(chart.across)}</text>')
    return drawn


def _curve(curve: Curve, scale: _Scale, colour: str) -> list[str]:
    places = [(scale.x(x), scale.y(y)) for x, y in curve.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    kind = "line" if curve.measured else "line predicted"
    drawn = [f'<polyline class="{kind}" stroke="{colour}" points="{path}"/>']
    if curve.measured:
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    return drawn


def _legend(chart: Chart, colours: dict[str, str]) -> list[str]:
    """Below the title, from the left."""
    drawn, x = [], float(_LEFT)
    for curve in chart.curves:
        kind, colour = "line" if curve.measured else "line predicted", colours[curve.name.split()[0]]
        drawn.append(f'<path class="{kind}" stroke="{colour}" d="M{x:.1f} 32h24"/>')
        drawn.append(f'<text x="{x + 28:.1f}" y="36">{escape(curve.name)}</text>')
        x += 7.0 * len(curve.name) + 50
    return drawn
