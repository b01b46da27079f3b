"""`moetune history`: what was benchmarked before, listed, compared, plotted and exported."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.bench_store import StoredBench
from app.cli.bench_text import bench_lines, markdown_text, title_of
from app.cli.output import narrate, print_json, text_width
from app.cli.spans import Line, line, print_lines, wrapped
from app.errors import ExitCode, MoetuneError, UsageError
from app.jobs.history import Comparison, History, Pair, bench_of, compare, csv_text, history, newest_bench
from app.units import count_text, rate_text

_SHOWN_RUNS = 10


def run(arguments: argparse.Namespace) -> int:
    """Print the list, a sweep, or two beside each other; and write what is to be exported."""
    if arguments.compare and arguments.id is not None:
        raise UsageError("--compare takes both benchmarks itself.", hint="Leave the other number out.")
    drawn = arguments.plot or arguments.svg or arguments.markdown
    if arguments.id is None and not arguments.compare and not drawn:
        return _list(arguments)
    comparison: Comparison | None = None
    if arguments.compare:
        comparison = compare(*map(bench_of, arguments.compare))
        chosen: tuple[StoredBench, ...] = (comparison.first, comparison.second)
    else:
        chosen = (newest_bench(arguments.model) if arguments.id is None else bench_of(arguments.id),)
    _export(arguments, chosen)
    if arguments.json:
        print_json(comparison or chosen[0])
    elif comparison is not None:
        print_lines(_comparison_lines(comparison, text_width()))
    elif arguments.markdown:
        print(markdown_text(_title(chosen[0]), chosen[0].facts, chosen[0].points, ()))
    else:
        print_lines(bench_lines(_title(chosen[0]), chosen[0].facts, chosen[0].points, (), text_width()))
    if arguments.plot and not arguments.json:
        _plot(chosen)
    return ExitCode.OK


def _list(arguments: argparse.Namespace) -> int:
    found = history(arguments.model)
    if arguments.csv:
        _write(arguments.csv, csv_text(found.benches))
    if arguments.json:
        print_json(found)
    elif not (found.benches or found.runs):
        narrate("Nothing was measured yet: `moetune bench MODEL` does.")
    else:
        print_lines(_list_lines(found, text_width()))
    return ExitCode.OK


def _list_lines(found: History, width: int) -> list[Line]:
    lines: list[Line] = []
    for stored in found.benches:
        lines += wrapped(
            f"{stored.at[:10]}  {_title(stored)}", width, first=line(f"{stored.id:>4}  ", "bold"), indent=6
        )
        lines += wrapped(_summary(stored), width, first=line(" " * 6), style="dim")
    if found.runs:
        lines += [(), line("Prompts through `moetune run`", "bold")]
    for one in found.runs[:_SHOWN_RUNS]:
        told = f"{rate_text(one.measured_decode_tps)} t/s decode, predicted {rate_text(one.predicted_tps)}"
        lines += wrapped(f"{one.at[:10]}  {one.model}: {told}", width, first=line("  "), indent=6)
    return lines


def _title(stored: StoredBench) -> str:
    return title_of(stored.model, stored.engine, stored.tool)


def _summary(stored: StoredBench) -> str:
    """Where everything is, and the first and last decode of one sequence."""
    alone = [point for point in stored.points if point.batch == 1] or list(stored.points)
    ends = [alone[0], alone[-1]] if len(alone) > 1 else alone
    speeds = " to ".join(f"{rate_text(one.decode_tps)} t/s at {count_text(one.context)}" for one in ends)
    where = stored.facts.get("placement_text")
    count = f"{len(stored.points)} point" + "s" * (len(stored.points) != 1)
    return "; ".join(filter(None, (where, f"decode {speeds}", count)))


def _comparison_lines(found: Comparison, width: int) -> list[Line]:
    first, second = found.first, found.second
    lines: list[Line] = []
    for one in (first, second):
        lines += wrapped(f"{one.at[:10]}  {_title(one)}", width, first=line(f"{one.id:>4}  ", "bold"), style="bold")
    for told in found.differences:
        lines += wrapped(told, width, first=line("      "), style="dim")
    rows = [["context", "sequences", "prefill", f"of {first.id}, {second.id}", "decode", f"of {first.id}, {second.id}"]]
    rows += [_cells(pair) for pair in found.pairs]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines.append(())
    for number, row in enumerate(rows):
        text = "  ".join(f"{cell:>{size}}" for cell, size in zip(row, widths, strict=True))
        lines.append(line(f"  {text}", "" if number else "bold"))
    return lines


def _cells(pair: Pair) -> list[str]:
    prefill, decode = (" ".join(f"{rate_text(value):>6}" for value in values) for values in (pair.prefill, pair.decode))
    shown = prefill if pair.prefill_ratio else "-"
    return [
        count_text(pair.context), str(pair.batch), _gain(pair.prefill_ratio), shown, _gain(pair.decode_ratio), decode,
    ]  # fmt: skip


def _gain(ratio: float | None) -> str:
    return "-" if ratio is None else f"{100 * (ratio - 1):+.0f} %"


def _plot(chosen: tuple[StoredBench, ...]) -> None:
    from app.cli.bench_curves import charts_of, plot_text

    charts = charts_of(chosen)
    if not charts:
        narrate("There is nothing to plot: a line takes two points.")
    for chart in charts:
        print()
        print(plot_text(chart, text_width()))


def _export(arguments: argparse.Namespace, chosen: tuple[StoredBench, ...]) -> None:
    if arguments.csv:
        _write(arguments.csv, csv_text(chosen))
    if arguments.svg:
        from app.cli.bench_curves import charts_of
        from app.cli.bench_svg import svg_text

        charts = charts_of(chosen)
        if not charts:
            raise MoetuneError("There is nothing to draw: a line takes two points.", hint="Measure more contexts.")
        _write(arguments.svg, svg_text([f"{one.id}: {_title(one)}" for one in chosen], charts))


def _write(name: str, text: str) -> None:
    path = Path(name)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MoetuneError(f"{path} cannot be written: {error.strerror}.") from error
    narrate(f"written: {path}")
