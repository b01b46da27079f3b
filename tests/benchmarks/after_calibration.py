"""How well a machine is predicted once one or three rows of it were used to calibrate the constants."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence

from app.solver.calibration import calibrated
from app.solver.coefficients import Coefficients
from app.solver.decode import decode_costs
from app.solver.machine_fit import Trial
from app.solver.scene import Cost, total_ms
from tests.benchmarks.figures import grouped
from tests.benchmarks.outcomes import Outcome

DRAWS = 6
"""Sets of rows that every machine is calibrated with, drawn at random but always the same."""


def after_calibration(
    outcomes: Sequence[Outcome], count: int, constants: dict[str, Coefficients] | None = None
) -> tuple[float, float, int]:
    """Mean and median error in percent of the other rows of a machine, and how many machines had enough rows.

    A machine's rows by one backend are calibrated together; every machine counts once.

    Args:
        outcomes: predicted rows.
        count: how many rows to calibrate with.
        constants: to start from, by machine; those of the rows' scenes by default.
    """
    means: list[float] = []
    errors: list[float] = []
    units = grouped((one for one in outcomes if not one.why_not), _unit)
    for name, part in units.items():
        if len(part) < count + 3:
            continue
        found = [error for chosen in _draws(name, len(part), count) for error in _errors(part, chosen, constants)]
        means.append(statistics.fmean(found))
        errors.extend(found)
    if not means:
        return 0.0, 0.0, 0
    return 100 * statistics.fmean(means), 100 * statistics.median(errors), len(means)


def _unit(one: Outcome) -> str:
    backend = one.row.scene.engine.backend if one.row.scene is not None else ""
    return f"{one.row.machine_key}|{backend}"


def _draws(name: str, size: int, count: int) -> Iterator[tuple[int, ...]]:
    chance = random.Random(name)
    for _ in range(DRAWS):
        yield tuple(chance.sample(range(size), count))


def _errors(
    part: Sequence[Outcome], chosen: Sequence[int], constants: dict[str, Coefficients] | None
) -> Iterator[float]:
    scene = part[0].row.scene
    assert scene is not None
    start = scene.coefficients if constants is None else constants[part[0].row.machine_key]
    trials = [Trial(costs_of(part[i]), 1000 * part[i].row.batch / part[i].measured, "decode") for i in chosen]
    own = calibrated(start, trials).coefficients
    for i, one in enumerate(part):
        if i not in chosen:
            predicted = 1000 * one.row.batch / total_ms(costs_of(one), own)
            yield abs(predicted / one.measured - 1)


def costs_of(one: Outcome) -> list[Cost]:
    """The costs of a row's decode step."""
    row = one.row
    assert row.scene is not None
    assert row.placement is not None
    assert row.parameters is not None
    return decode_costs(row.scene, row.placement, row.parameters, context=row.context, batch=row.batch)
