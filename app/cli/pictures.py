"""The pictures of a plan: layers by device, memory by pool, a token's time, speeds over what may be chosen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise

from app.cli.charts import bar, column_chart, line_chart
from app.cli.spans import Line, beside, line, wrapped
from app.jobs.explaining import PlanReport
from app.solver.explain.pools import PoolUse
from app.solver.explain.sizes import own_use
from app.solver.plan import CurvePoint, Prediction
from app.units import bytes_text, count_text, rate_text

INDENT = "  "
MAX_LABEL = 26
COUNT_HEADING = "layers"
ATTENTION, EXPERTS, SOME, NONE = "▓", "█", "▄", "·"
MEMORY_GLYPHS = (("weights", "█", "cyan"), ("KV", "▓", "yellow"), ("compute", "▒", "green"))


def label_column(names: Sequence[str]) -> int:
    """Cells of a column of names, with the blanks that follow it."""
    return min(MAX_LABEL, max(map(len, names), default=0)) + 2


def placement_picture(report: PlanReport, width: int) -> list[Line]:
    """Layers across, and for each device a row of its attention and a row of its experts."""
    plan, shape, machine = report.plan, report.shape, report.machine
    count = len(shape.layers)
    rows = [row for device in plan.placement.devices for row in _device_rows(report, device)]
    names = [machine.label(device)[:MAX_LABEL] for device in plan.placement.devices]
    column = label_column(names)
    lead = len(INDENT) + column + len(COUNT_HEADING) + 2
    room = max(8, width - lead - 2 - max(len(words) for *_, words in rows))
    shown, stretch = (count, 2) if 2 * count <= room else (min(count, room), 1)
    edges = [round(count * index / shown) for index in range(shown + 1)]
    drawn = [line(f"{INDENT}{'':<{column}}{COUNT_HEADING}  {_ruler(edges, stretch)}", "dim")]
    partial = False
    for name, held, glyph, style, words in rows:
        cells = [_cell(held, left, right, glyph) for left, right in pairwise(edges)]
        partial = partial or SOME in cells
        picture = "".join(cell * stretch for cell in cells)
        left = f"{INDENT}{name[:MAX_LABEL]:<{column}}{len(held):>{len(COUNT_HEADING)}}  "
        drawn.append(((left, ""), (picture, style), (f"  {words}", "")))
    if plan.placement.resident_experts:
        owner = machine.label(plan.placement.head)
        resident = f"{plan.placement.resident_experts} of {shape.expert_count} of each layer on {owner} besides"
        drawn.append(line(f"{' ' * lead}{resident}"))
    if partial:
        drawn.append(line(f"{' ' * lead}{SOME} some of the cell's layers", "dim"))
    return drawn


def _device_rows(report: PlanReport, device: str) -> list[tuple[str, set[int], str, str, str]]:
    """Name, layers, glyph, style and words of what a device holds."""
    placement, shape = report.plan.placement, report.shape
    name = report.machine.label(device)
    attention = set(placement.attention_layers(device))
    experts = {i for i in placement.expert_layers(device) if shape.layers[i].expert_bytes}
    rows = []
    if attention:
        head = ", head" if placement.head == device else ""
        rows.append((name, attention, ATTENTION, "yellow", f"{'attention' if shape.is_moe else 'weights'}, KV{head}"))
    if experts:
        rows.append(("" if attention else name, experts, EXPERTS, "cyan", "experts"))
    return rows


def _cell(held: set[int], left: int, right: int, glyph: str) -> str:
    layers = set(range(left, right))
    return NONE if not held & layers else glyph if layers <= held else SOME


def _ruler(edges: Sequence[int], stretch: int) -> str:
    """Numbers of layers above their cells: the first, every so many, and the last."""
    width, last = (len(edges) - 1) * stretch, edges[-1] - 1
    step = next(step for step in (10, 20, 50, 100, 1000) if width * step / max(1, last + 1) >= 8 or step == 1000)
    text = ""
    for layer in range(0, last, step):
        at = next(index for index, edge in enumerate(edges) if edge >= layer) * stretch
        if at + len(str(layer)) + 2 + len(str(last)) <= width:
            text = text.ljust(at) + str(layer)
    return text.ljust(width - len(str(last))) + str(last)


def memory_bars(report: PlanReport, width: int) -> list[Line]:
    """A bar for each pool, and below it what it is made of."""
    column = label_column([use.label for use in report.pools])
    drawn: list[Line] = []
    kinds = {name for use in report.pools for name, size in _kinds(use) if size}
    for use in report.pools:
        figure = f"{bytes_text(use.plan_bytes)} of {bytes_text(use.total_bytes)}"
        room = max(10, width - len(INDENT) - column - 2 - len("1000.0 GiB of 1000.0 GiB"))
        bars = bar(_parts(use), max(use.total_bytes, sum(size for size, _, _ in _parts(use))), room)
        drawn.append(((f"{INDENT}{use.label[:MAX_LABEL]:<{column}}", ""), *bars, (f"  {figure}", "bold")))
        drawn += _pool_words(report, use, column, width)
    legend = [((glyph, style), (f" {name}  ", "dim")) for name, glyph, style in _glyphs() if name in kinds]
    return [*drawn, ((f"{INDENT}{'':<{column}}", ""), *(span for pair in legend for span in pair), ("░ free", "dim"))]


def _glyphs() -> tuple[tuple[str, str, str], ...]:
    return (*MEMORY_GLYPHS, ("engine", "▚", "green"), ("kept free", "╱", "dim"), ("others", "×", "dim"))


def _kinds(use: PoolUse) -> list[tuple[str, int]]:
    sizes = (use.weight_bytes, use.kv_bytes, use.compute_bytes, use.other_bytes, use.reserve_bytes)
    names = [name for name, _, _ in _glyphs()]
    return list(zip(names, (*sizes, use.used_by_others_bytes or 0), strict=True))


def _parts(use: PoolUse) -> list[tuple[float, str, str]]:
    return [(size, glyph, style) for (_, size), (_, glyph, style) in zip(_kinds(use), _glyphs(), strict=True)]


def _pool_words(report: PlanReport, use: PoolUse, column: int, width: int) -> list[Line]:
    named = {"engine": own_use(report.plan, use)}
    text = ", ".join(f"{named.get(name, name)} {bytes_text(size)}" for name, size in _kinds(use) if size)
    if len(use.devices) > 1:
        text += f"; one pool for {' and '.join(report.machine.label(device) for device in use.devices)}"
    lead = line(f"{INDENT}{'':<{column}}")
    spare = use.spare_bytes
    verdict = f"{bytes_text(spare)} to spare" if spare >= 0 else f"✗ {bytes_text(-spare)} too much"
    lines = wrapped(f"{text}; {verdict}", width, first=lead, style="dim")
    return lines if spare >= 0 else [*wrapped(text, width, first=lead, style="dim"), (*lead, (verdict, "red"))]


def time_bars(prediction: Prediction, width: int) -> list[Line]:
    """The terms of a token's time, the largest first."""
    column = label_column([term.name for term in prediction.terms])
    total = prediction.ms_per_token
    largest = max(term.value for term in prediction.terms)
    room = max(8, min(30, width - len(INDENT) - column - 18))
    drawn = []
    for term in prediction.terms:
        share = bar([(term.value, "█", "cyan")], largest, room, free=" ")
        percent = 100 * term.value / total
        figures = f"{term.value:8.2f} ms {f'{percent:.0f}' if percent >= 0.5 else '<1':>4} %"
        drawn.append(((f"{INDENT}{term.name[:MAX_LABEL]:<{column}}", ""), *share, (figures, "")))
    return drawn


def curve_charts(report: PlanReport, width: int) -> list[Line]:
    """Decode over context and over sequences, prompts over the ubatch."""
    curves = report.plan.curves
    three = width >= 105
    each = (width - len(INDENT) - (6 if three else 3)) // (3 if three else 2)
    charts = []
    if len(curves.decode_by_context) > 1:
        charts.append(_over_context(curves.decode_by_context, each))
    if curves.decode_by_batch:
        charts.append(_columns("decode t/s of all, by sequences", curves.decode_by_batch, each))
    if curves.prefill_by_ubatch:
        by = "ubatch" if report.plan.parameters.kt is None else "chunk"
        charts.append(_columns(f"prefill t/s, by {by}", curves.prefill_by_ubatch, each))
    rows = [charts] if three else [charts[:2], charts[2:]]
    drawn: list[Line] = []
    for blocks in filter(None, rows):
        if not three and len(blocks) == 1 and report.crossover:
            sentence = [line(""), *wrapped(report.crossover, each)]
            blocks = [*blocks, sentence]
        drawn += [((INDENT, ""), *spans) for spans in beside(blocks, each)]
        drawn.append(())
    if report.crossover and (three or not curves.prefill_by_ubatch):
        drawn += [*wrapped(report.crossover, width, first=line(INDENT)), ()]
    return drawn[:-1]


def _over_context(points: Sequence[CurvePoint], width: int) -> list[Line]:
    """A line; columns on the Linux console, whose font has no braille."""
    title = "decode t/s over context"
    if os.environ.get("TERM") == "linux":
        return _columns(title, points[:: max(1, -(-len(points) * 6 // width))], width)
    pairs = [(float(point.at), point.tokens_per_s) for point in points]
    return line_chart(title, pairs, width, 5, lambda at: count_text(round(at)))


def _columns(title: str, points: Sequence[CurvePoint], width: int) -> list[Line]:
    """A column for each, thinned out where there are more than fit."""
    most = max(1, width // 6)
    kept = [point for point in points if point.at & (point.at - 1) == 0] if len(points) > most else list(points)
    pairs = [(float(point.at), point.tokens_per_s) for point in kept[-most:]]
    return column_chart(title, pairs, width, 5, (lambda at: count_text(round(at)), rate_text))
