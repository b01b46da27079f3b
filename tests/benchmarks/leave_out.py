"""Decode accuracy of machines that the constants never saw: fitted once more without each, and without its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from app.hardware.coefficients import shipped_coefficients
from app.solver.coefficients import Coefficients
from tests.benchmarks.after_calibration import after_calibration
from tests.benchmarks.figures import figures_of, pair_order
from tests.benchmarks.least_squares import Floats
from tests.benchmarks.outcomes import Outcome, decode_outcomes
from tests.benchmarks.report import calibration_line
from tests.benchmarks.rows import CLASSES, Row
from tests.benchmarks.samples import Matrix, samples_of


def leave_out_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Figures in words, clean rows and all of class A."""
    samples = samples_of(rows)
    shipped = shipped_coefficients()
    matrix = Matrix(samples, {name: one.value for name, one in shipped.values.items()})
    outcomes = {one.row.id: one for one in decode_outcomes(rows) if not one.why_not}
    own = [outcomes[sample.row.id] for sample in samples]
    for title, keys in (("machine", matrix.machines), ("hardware group", matrix.groups)):
        predicted = moved(own, matrix, matrix.left_out(keys, matrix.clean))
        clean = [one for one, is_clean in zip(predicted, matrix.clean, strict=True) if is_clean]
        yield f"Decode, leaving one {title} out (fitted to clean rows):"
        yield from _lines("clean", clean)
        yield from _lines("nothing left out", predicted)
        right, pairs = pair_order(predicted)
        yield f"  pairs in the right order: {right:.1f} % of {pairs}"
    constants = {
        str(key): _with(shipped, matrix.names, matrix.fit(matrix.clean & (matrix.machines != key)))
        for key in dict.fromkeys(matrix.machines.tolist())
    }
    for title, part in (("clean", [one for one, kept in zip(own, matrix.clean, strict=True) if kept]), ("all", own)):
        for count, apart in ((1, False), (3, False), (3, True)):
            found = after_calibration(part, count, constants, apart=apart)
            yield f"  {title}, machine left out, {calibration_line(found, count, apart=apart)}"


def moved(outcomes: Sequence[Outcome], matrix: Matrix, ms: Floats) -> list[Outcome]:
    """Outcomes with other predictions, their ranges moved along."""
    found = []
    for one, time in zip(outcomes, ms, strict=True):
        speed = 1000 * one.row.batch / float(time)
        ratio = speed / one.predicted
        found.append(replace(one, predicted=speed, low=one.low * ratio, high=one.high * ratio))
    return found


def _with(base: Coefficients, names: Sequence[str], values: Floats) -> Coefficients:
    new = {name: replace(base.values[name], value=float(value)) for name, value in zip(names, values, strict=True)}
    return replace(base, values={**base.values, **new})


def _lines(title: str, outcomes: Sequence[Outcome]) -> Iterator[str]:
    for kind in ("all", *CLASSES):
        part = [one for one in outcomes if kind in ("all", one.row.placement_class)]
        figures = figures_of(part)
        if figures:
            yield (
                f"  {title:17} {kind:14} {figures.n:5} mean {figures.mape:5.1f} median {figures.median_ape:5.1f}"
                f" bias {figures.bias:+5.1f} in 90% {figures.coverage90:5.1f} by machine {figures.machine_mape:5.1f}"
            )
