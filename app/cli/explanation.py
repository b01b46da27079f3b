"""`moetune plan --explain`: how a number came about, with every number in its place."""

from __future__ import annotations

from collections.abc import Sequence

from app.cli.pictures import INDENT
from app.cli.spans import Line, line, wrapped
from app.errors import UsageError
from app.jobs.explaining import PlanReport
from app.solver.explain.derivation import Derivation, find, walk

LIST = "list"


def explanation_lines(report: PlanReport, asked: str, width: int) -> list[Line]:
    """The derivation of that name, or of all that begin so; for `list`, all names with their values.

    Raises:
        UsageError: there is no such number; names those there are.
    """
    if asked == LIST:
        return _list_lines(report.derivations, width)
    found = find(report.derivations, asked)
    if not found:
        names = ", ".join(name for name, _ in walk(report.derivations))
        raise UsageError(f"This plan has no number {asked!r}.", hint=f"It has: {names}.")
    blocks = [_derivation_lines(one, width, 0) for one in found]
    return [one for index, block in enumerate(blocks) for one in ([(), *block] if index else block)]


def _list_lines(derivations: Sequence[Derivation], width: int) -> list[Line]:
    named = list(walk(derivations))
    column = min(max(len(name) for name, _ in named), width // 2)
    lines = [line("Ask for any of these: moetune plan MODEL --explain NAME", "bold")]
    for name, one in named:
        lines += wrapped(one.result, width, first=line(f"{INDENT}{name:<{column}}  "))
    return lines


def _derivation_lines(one: Derivation, width: int, depth: int) -> list[Line]:
    """The number, its equation, where its parts come from; then the parts, further in."""
    indent = INDENT * depth
    known = f"  ({one.basis})" if one.basis is not None else ""
    lines: list[Line] = [((indent, ""), (one.name, "bold"), (f"  {one.result}{known}", "bold" if depth == 0 else ""))]
    if one.equation:
        lines += wrapped(one.equation, width, first=line(f"{indent}{INDENT}"), style="cyan")
    for reason in one.reasons:
        lines += wrapped(reason, width, first=line(f"{indent}{INDENT}· "), style="dim")
    for part in one.parts:
        if depth == 0:
            lines.append(())
        lines += _derivation_lines(part, width, depth + 1)
    return lines
