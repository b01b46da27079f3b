"""`moetune plan --what-if`: a machine as it is and as it would be, side by side."""

from __future__ import annotations

from app.cli.pictures import INDENT, label_column
from app.cli.spans import Line, line, wrapped
from app.jobs.supposing import Compared, Outcome, WhatIf


def comparison_lines(what_if: WhatIf, width: int) -> list[Line]:
    """The verdict, the figures of both, and what was assumed."""
    rows = what_if.rows
    column = label_column([row.name for row in rows])
    before = max([len(row.before_text) for row in rows] + [len("now")]) + 2
    after = max([len(row.after_text) for row in rows] + [len("then")]) + 2
    lines = [
        *wrapped(f"What if {' '.join(what_if.words)}?", width, indent=2, style="bold"),
        *wrapped(what_if.verdict, width, first=line(INDENT)),
        (),
        line(f"{INDENT}{'':<{column}}{'now':>{before}}{'then':>{after}}", "dim"),
    ]
    lines += [_row(row, column, before, after) for row in rows]
    lines += [(), line("Placement", "bold")]
    for name, outcome in (("now", what_if.before), ("then", what_if.after)):
        lines += wrapped(_placed(outcome), width, first=line(f"{INDENT}{name:<6}"))
    if what_if.assumed:
        lines += [(), line("Assumed", "bold")]
        lines += [one for text in what_if.assumed for one in wrapped(text, width, first=line(f"{INDENT}· "))]
    return lines


def _placed(outcome: Outcome) -> str:
    return outcome.placement or outcome.why_not


def _row(row: Compared, column: int, before: int, after: int) -> Line:
    change = ""
    if row.before and row.after not in (None, row.before) and row.unit in ("t/s", "s", "tokens"):
        change = f"{100 * (row.after / row.before - 1):+8.0f} %"
    better = row.before is not None and row.after is not None and (row.after > row.before) == (row.unit != "s")
    same = row.before == row.after
    text = f"{INDENT}{row.name:<{column}}{row.before_text:>{before}}{row.after_text:>{after}}"
    return ((text, ""), (change, "" if same else "green" if better else "yellow"))
