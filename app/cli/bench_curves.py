"""The curves of benchmarks: which lines there are to draw, and plotext's pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.bench_store import Point, StoredBench
from app.units import count_text


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]
    measured: bool
    """Else predicted."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over the same axis."""

    title: str
    across: str
    """What the axis below counts."""
    curves: tuple[Curve, ...]


def charts_of(benches: Sequence[StoredBench]) -> tuple[Chart, ...]:
    """Decode and prefill by context, and decode by sequences at each context: those with two points or more."""
    found = [
        _chart(benches, "Decode, tokens/s", "context", _alone, _context, ("decode_tps", "predicted_decode_tps")),
        _chart(benches, "Prefill, tokens/s", "context", _alone, _context, ("prefill_tps", "predicted_prefill_tps")),
    ]
    depths = sorted({point.context for stored in benches for point in stored.points if point.batch > 1})
    for depth in depths:

        def at_depth(point: Point, depth: int = depth) -> bool:
            return point.context == depth

        title = f"Decode of all sequences at context {count_text(depth)}, tokens/s"
        names = ("decode_tps", "predicted_decode_tps")
        found.append(_chart(benches, title, "sequences", at_depth, _batch, names))
    return tuple(chart for chart in found if chart.curves)


def _chart(
    benches: Sequence[StoredBench],
    title: str,
    across: str,
    belongs: Callable[[Point], bool],
    at: Callable[[Point], int],
    names: tuple[str, str],
) -> Chart:
    curves = []
    for stored in benches:
        for name, measured in zip(names, (True, False), strict=True):
            points = sorted(
                (float(at(point)), float(value))
                for point in stored.points
                if belongs(point) and (value := getattr(point, name)) is not None
            )
            if len(points) > 1:
                label = f"{stored.id} {'measured' if measured else 'predicted'}"
                curves.append(Curve(label, tuple(points), measured))
    return Chart(title, across, tuple(curves) if any(curve.measured for curve in curves) else ())


def _alone(point: Point) -> bool:
    return point.batch == 1


def _context(point: Point) -> int:
    return point.context


def _batch(point: Point) -> int:
    return point.batch


def plot_text(chart: Chart, width: int, height: int = 16) -> str:
    """The chart for a terminal, drawn by plotext: it does not move."""
    import plotext

    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(width, height)
    plotext.title(chart.title)
    for curve in chart.curves:
        across, up = [x for x, _ in curve.points], [y for _, y in curve.points]
        marker = "braille" if curve.measured else "·"
        plotext.plot(across, up, marker=marker, label=curve.name)
        if curve.measured:
            plotext.scatter(across, up, marker="●")
    places = sorted({x for curve in chart.curves for x, _ in curve.points})
    shown = [places[0], *(x for x in places[1:] if x - places[0] >= (places[-1] - places[0]) / 8)]
    plotext.xticks(shown, [count_text(int(x)) for x in shown])
    plotext.xlabel(chart.across)
    plotext.ylim(0, 1.1 * max(y for curve in chart.curves for _, y in curve.points))
    text: str = plotext.uncolorize(plotext.build())
    return text
