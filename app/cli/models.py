"""`moetune models`: the model files there are and the models that are described, each with its verdict here."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from app.cli.output import print_json, text_width
from app.cli.spans import Line, Span, line, print_lines, wrapped
from app.errors import ExitCode
from app.jobs.library import Library, LibraryRow, library
from app.solver.model import Workload
from app.units import bytes_text, count_text, rate_text

_SIZE, _QUANTIZATION, _SPEED, _CONTEXT = 9, 10, 5, 5


def run(arguments: argparse.Namespace) -> int:
    """List the models."""
    workload = Workload(context=arguments.context, parallel=arguments.parallel)
    folders = [Path(folder).expanduser() for folder in arguments.folders]
    found = library(folders, workload=workload, capture=arguments.capture)
    if arguments.json:
        print_json(found)
    else:
        print_lines(library_lines(found, text_width(), everything=arguments.all))
    return ExitCode.OK


def library_lines(found: Library, width: int, *, everything: bool = False) -> list[Line]:
    """The models as a table of that width.

    Args:
        found: the models.
        width: columns.
        everything: with the described models that do not fit; otherwise they are named in a sentence.
    """
    files = [row for row in found.rows if row.kind == "file"]
    described = [row for row in found.rows if row.kind == "described"]
    fitting = [row for row in described if row.verdict and row.verdict.fits]
    lines: list[Line] = [line(found.machine, "bold"), _heading(width)]
    for place in dict.fromkeys(row.place for row in files):
        lines += [(), line(_at_home(place), "cyan")]
        for row in (one for one in files if one.place == place):
            lines += _row(row, width)
    if not files:
        lines += [(), *wrapped("No model files were found; `moetune models FOLDER` looks elsewhere.", width)]
    lines += [(), line(f"described, not downloaded: {len(fitting)} of {len(described)} fit here", "cyan")]
    for row in described if everything else fitting:
        lines += _row(row, width)
    others = [row.model for row in described if row not in fitting]
    if others and not everything:
        lines += [(), *wrapped(f"too large here: {', '.join(others)}", width, style="dim")]
    return [*lines, (), *_legend(found, width)]


def _heading(width: int) -> Line:
    return line(_columns("model", "size", "quant", "where", "t/s", "ctx", width), "dim")


def _columns(model: str, size: str, quantization: str, where: str, speed: str, context: str, width: int) -> str:
    name, place = _free(width)
    return (
        f"{_cut(model, name):<{name}} {size:>{_SIZE}} {_cut(quantization, _QUANTIZATION):<{_QUANTIZATION}}"
        f" {_cut(where, place):<{place}} {speed:>{_SPEED}} {context:>{_CONTEXT}}"
    )


def _free(width: int) -> tuple[int, int]:
    """Columns for the name and for the placement."""
    rest = width - _SIZE - _QUANTIZATION - _SPEED - _CONTEXT - 5
    return rest * 2 // 3, rest - rest * 2 // 3  # 30 at 80 columns: the longest id


def _row(row: LibraryRow, width: int) -> list[Line]:
    name = row.model if row.kind == "described" else re.sub(r"(-\d{5}-of-\d{5})?\.gguf$", "", row.name)
    if row.verdict is None:
        first: Line = ((f"{name}  ", ""),)
        return wrapped(row.problem or "cannot be planned", width, first=first, indent=4, style="red")
    verdict = row.verdict
    if not verdict.fits:
        where, speed, context = f"lacks {bytes_text(verdict.missing_bytes)}", "", ""
    else:
        where = " + ".join(row.devices)
        speed = rate_text(verdict.decode.tokens_per_s) if verdict.decode else ""
        context = count_text(verdict.longest_context // 1024 * 1024) if verdict.longest_context else "-"
    text = _columns(name, bytes_text(row.file_bytes), row.quantization, where, speed, context, width)
    return [_coloured(text, verdict.fits, bool(verdict.longest_context))]


def _coloured(text: str, fits: bool, usable: bool) -> Line:
    """The row with its name as it is and its verdict in the colour of what it says."""
    style = "green" if usable else "yellow"
    spans: tuple[Span, ...] = ((text[: -(_SPEED + _CONTEXT + 1)], ""), (text[-(_SPEED + _CONTEXT + 1) :], style))
    return spans if fits else ((text, "dim"),)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _at_home(place: str) -> str:
    home = str(Path.home())
    return f"~{place[len(home) :]}" if place == home or place.startswith(f"{home}/") else place


def _legend(found: Library, width: int) -> list[Line]:
    workload = found.workload
    return wrapped(
        f"t/s: an answer at {count_text(workload.mean_context)} tokens of context, {count_text(workload.context)} held."
        f" ctx: the longest context that keeps {workload.floor_tps:.0f} t/s there (-: slower from the start)."
        " `moetune plan MODEL` says how and why.",
        width,
        style="dim",
    )
