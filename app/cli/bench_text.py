"""Benchmarks as tables: for a terminal, and in Markdown for a forum post."""

from __future__ import annotations

from collections.abc import Sequence

from app.bench_store import Facts, Point
from app.cli.spans import Line, line, wrapped
from app.units import bytes_text, count_text, rate_text

_LATENCIES = (("ttft_ms", "TTFT ms"), ("tpot_ms", "TPOT ms"))
"""Names of what an endpoint's clients saw, and how they are headed."""


def title_of(model: str, engine: str, tool: str) -> str:
    """What was measured; an endpoint's URL is its tool."""
    where = f" at {tool}" if "://" in tool else ""
    return f"{model} with {engine}{where}" if engine else f"{model}{where}"


def bench_lines(title: str, facts: Facts, points: Sequence[Point], notes: Sequence[str], width: int) -> list[Line]:
    """A sweep: what was measured, on what, the table, and what was left out."""
    lines = wrapped(title, width, indent=2, style="bold")
    for words in described(facts):
        lines += wrapped(words, width, first=line("  "), style="dim")
    rows = [headings(points), *(cells_of(point, points) for point in points)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines.append(())
    for number, row in enumerate(rows):
        text = "  ".join(f"{cell:>{size}}" for cell, size in zip(row, widths, strict=True))
        lines.append(line(f"  {text}", "" if number else "bold"))
    if any(point.batch > 1 for point in points):
        lines += wrapped("Speeds of several sequences are of all together.", width, first=line("  "), style="dim")
    for note in notes:
        lines += wrapped(note, width, first=line("  Note: "))
    return lines


def markdown_text(title: str, facts: Facts, points: Sequence[Point], notes: Sequence[str]) -> str:
    """The same for a forum post."""
    rows = [headings(points), ["--:"] * len(headings(points)), *(cells_of(point, points) for point in points)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    told = "".join(f"- {words}\n" for words in described(facts))
    after = "".join(f"\n- {note}" for note in notes)
    return f"**{title}**\n\n{told}\n{table}\n{after}".rstrip()


def described(facts: Facts) -> list[str]:
    """Placement, parameters and the machine's state, a line each; what is not known is left out."""
    found = []
    if where := facts.get("placement_text"):
        found.append(f"{str(where)[0].upper()}{str(where)[1:]}")
    if p := facts.get("parameters"):
        kv = p["kv_type_k"] if p["kv_type_k"] == p["kv_type_v"] else f"{p['kv_type_k']}/{p['kv_type_v']}"
        found.append(
            f"KV {kv}, ubatch {p['ubatch']}, batch {p['batch']}, {p['threads']} threads, load mode {p['load_mode']},"
            f" flash attention {'on' if p['flash_attention'] else 'off'}"
        )
    state = facts.get("state") or {}
    parts = [state.get("engine"), state.get("drivers"), state.get("kernel") and f"kernel {state['kernel']}"]
    parts += [state.get("governor") and f"{state['governor']} governor", state.get("on_battery") and "on battery"]
    if told := [str(part) for part in parts if part]:
        found.append(", ".join(told))
    if size := facts.get("model_bytes"):
        found.append(f"Weights {bytes_text(size)}")
    return found


def headings(points: Sequence[Point]) -> list[str]:
    """Of the columns that any point fills."""
    found = ["context", "sequences", "prefill t/s", "decode t/s"]
    if _predicted(points):
        found += ["predicted", "off"]
    for name, text in _LATENCIES:
        if any(f"{name}_p50" in point.latency for point in points):
            found += [f"{text} p50", "p95"]
    return found


def cells_of(point: Point, points: Sequence[Point]) -> list[str]:
    """One row under those headings."""
    depth = count_text(point.context)
    found = [depth, str(point.batch), rate_text(point.prefill_tps) if point.prefill_tps else "-"]
    found.append(rate_text(point.decode_tps))
    if _predicted(points):
        found += _prediction(point)
    for name, _ in _LATENCIES:
        if any(f"{name}_p50" in other.latency for other in points):
            found += [_milliseconds(point, f"{name}_p50"), _milliseconds(point, f"{name}_p95")]
    return found


def _predicted(points: Sequence[Point]) -> bool:
    return any(point.predicted_decode_tps for point in points)


def _prediction(point: Point) -> list[str]:
    said = point.predicted_decode_tps
    if not said:
        return ["n/a", ""]
    ranged = f"{rate_text(said)} ({rate_text(point.decode_low)} to {rate_text(point.decode_high)})"
    return [ranged, f"{100 * (said / point.decode_tps - 1):+.0f} %" if point.decode_tps else "n/a"]


def _milliseconds(point: Point, name: str) -> str:
    value = point.latency.get(name)
    return "n/a" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def point_line(point: Point) -> str:
    """One point as the narration has it: `8K: 612 t/s prefill, 44.7 t/s decode (predicted 46.0)`."""
    several = f", {point.batch} sequences" if point.batch > 1 else ""
    prefill = f"{rate_text(point.prefill_tps)} t/s prefill, " if point.prefill_tps else ""
    said = f" (predicted {rate_text(point.predicted_decode_tps)})" if point.predicted_decode_tps else ""
    return f"{count_text(point.context)}{several}: {prefill}{rate_text(point.decode_tps)} t/s decode{said}"
