"""The accuracy report, as text and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.benchmarks.after_calibration import Calibrated, after_calibration
from tests.benchmarks.figures import figures_of, grouped, pair_order
from tests.benchmarks.outcomes import Outcome
from tests.benchmarks.rows import CLASSES, Row

_HEAD = f"{'':44} {'n':>5} {'mean':>6} {'median':>6} {'bias':>6} {'in 90%':>6} {'by machine':>10}"


def counted(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The rows that the figures are of: those without a caveat, where the file tells."""
    return [one for one in outcomes if one.row.fit_class == "A"]


def report_json(rows: Sequence[Row], decode: Sequence[Outcome], prefill: Sequence[Outcome]) -> dict[str, Any]:
    """Figures by name; errors and coverage in percent."""
    return {"rows": len(rows), "decode": _json(decode), "prefill": _json(prefill)}


def _json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    main = counted(outcomes)
    right, pairs = pair_order(main)
    skipped = [one for one in main if one.why_not]
    found = _figures_json(main) or {"n": 0}
    return found | {
        "n_skipped": len(skipped),
        "skipped": dict(Counter(one.why_not for one in skipped)),
        "pairs_in_order": round(right, 2),
        "pairs": pairs,
        "classes": _parts(main, lambda one: one.row.placement_class),
        "machines": _parts(main, lambda one: one.row.machine_key),
        "subsets": {name: _figures_json(part) for name, part in subsets(main).items() if figures_of(part)},
        "defects": dict(Counter(name for one in main for name in one.defects)),
        "with_caveats": _parts([one for one in outcomes if one.row.fit_class != "A"], lambda one: one.row.fit_class),
    }


def _parts(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, Any]:
    return {name: found for name, part in grouped(outcomes, key).items() if (found := _figures_json(part))}


def _figures_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    figures = figures_of(outcomes)
    return dict(figures.as_json()) if figures else {}


def subsets(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Rows that the targets are of."""
    return {
        "clean": [one for one in outcomes if one.clean],
        "known defects": [one for one in outcomes if one.defects],
        "memory not known": [one for one in outcomes if not one.why_not and not one.memory_known],
        "hybrid, bandwidth stated": [
            one for one in outcomes if one.row.placement_class == "hybrid" and one.row.cells.get("mem_bandwidth_gbs")
        ],
        "dense models": [one for one in outcomes if one.row.scene is not None and not one.row.scene.shape.is_moe],
        "16K tokens and deeper": [one for one in outcomes if one.row.context >= 16384],
    }


def report_lines(
    rows: Sequence[Row], decode: Sequence[Outcome], prefill: Sequence[Outcome], *, worst: int, leave_out: bool
) -> Iterator[str]:
    """The report in words."""
    yield f"{len(rows)} rows, predicted with the constants that ship"
    for name, outcomes in (("Decode", decode), ("Prefill", prefill)):
        main = counted(outcomes)
        yield ""
        yield f"{name}: percent of the measured speed"
        yield _HEAD
        yield from _line("all", main)
        for kind in CLASSES:
            yield from _line(f"  {kind}", [one for one in main if one.row.placement_class == kind])
        for title, part in subsets(main).items():
            yield from _line(f"  {title}", part)
        yield from _line("rows with a caveat (class B)", [one for one in outcomes if one.row.fit_class == "B"])
        for why, count in Counter(one.why_not for one in main if one.why_not).most_common():
            yield f"skipped {count}: {why}"
        right, pairs = pair_order(main)
        yield f"pairs of one machine in the right order: {right:.1f} % of {pairs}"
        if name == "Decode":
            yield from _calibration_lines(main)
        yield f"worst, by machine, class and model ({name.lower()}):"
        yield from _worst(main, worst)
        yield "by machine:"
        for machine, part in sorted(grouped(main, lambda one: one.row.machine_key).items()):
            yield from _line(f"  {machine[:42]}", part)
    if leave_out:
        from tests.benchmarks.leave_out import leave_out_lines  # needs numpy

        yield ""
        yield from leave_out_lines(rows)


def _line(title: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    figures = figures_of(outcomes)
    if figures:
        yield (
            f"{title:44} {figures.n:5} {figures.mape:6.1f} {figures.median_ape:6.1f} {figures.bias:+6.1f}"
            f" {figures.coverage90:6.1f} {figures.machine_mape:10.1f}"
        )


def _calibration_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for count in (1, 3):
        for apart in (False, True)[: 1 if count == 1 else 2]:
            yield calibration_line(after_calibration(outcomes, count, apart=apart), count, apart=apart)


def calibration_line(found: Calibrated, count: int, *, apart: bool) -> str:
    """Errors once so many rows of a machine were used to calibrate."""
    which = f"{count} calibration row{'s' if count > 1 else ''}{', far apart' if apart else ''}"
    return (
        f"after {which}: other rows of the machine {found.by_machine:.1f} % (mean of {found.machines} machines),"
        f" {found.by_row:.1f} % (mean of rows), median {found.median:.1f} %"
    )


def _worst(outcomes: Sequence[Outcome], count: int) -> Iterator[str]:
    groups = grouped((one for one in outcomes if not one.why_not), _worst_key)
    order = sorted(groups.items(), key=lambda item: -sum(abs(one.error) for one in item[1]))
    for key, part in order[:count]:
        ratio = statistics.fmean(one.error + 1 for one in part)
        defects = sorted({name for one in part for name in one.defects})
        why = f"; known: {', '.join(defects)}" if defects else ""
        why += "" if part[0].memory_known else "; memory not known"
        yield f"  {len(part):3} rows, predicted x {ratio:.2f}: {key}{why}"


def _worst_key(one: Outcome) -> str:
    row = one.row
    model = row.scene.shape.name if row.scene is not None else row.cells.get("model", "")
    return f"{row.machine_key[:40]}, {row.placement_class}, {model}, {row.cells.get('backend', '')}"
