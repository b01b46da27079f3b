"""How well a machine is predicted once one or three rows of it were used to calibrate the constants."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.solver.calibration import calibrated
from app.solver.coefficients import Coefficients
from app.solver.decode import decode_costs
from app.solver.machine_fit import Trial
from app.solver.scene import Cost, total_ms
from tests.benchmarks.figures import grouped
from tests.benchmarks.outcomes import Outcome

DRAWS = 6
"""Sets of rows that every machine is calibrated with, drawn at random but always the same."""


class Calibrated(NamedTuple):
    """Errors of the rows of a machine that were not used, in percent."""

    by_machine: float
    """Every machine counted once."""
    by_row: float
    median: float
    machines: int
    """How many had enough rows."""


def after_calibration(
    outcomes: Sequence[Outcome],
    count: int,
    constants: dict[str, Coefficients] | None = None,
    *,
    apart: bool = False,
) -> Calibrated:
    """How the other rows of a machine are predicted once some of it were measured.

    A machine's rows by one backend are calibrated together.

    Args:
        outcomes: predicted rows.
        count: how many rows to calibrate with.
        constants: to start from, by machine; those of the rows' scenes by default.
        apart: calibrate with rows that are far from each other in what their time is made of, as `moetune calibrate`
            chooses its runs; else with rows drawn at random.
    """
    means: list[float] = []
    errors: list[float] = []
    rows: list[float] = []
    units = grouped((one for one in outcomes if not one.why_not), _unit)
    for name, part in units.items():
        if len(part) < count + 3:
            continue
        draws = [_far_apart(part, count)] if apart else list(_draws(name, len(part), count))
        found = [error for chosen in draws for error in _errors(part, chosen, constants)]
        means.append(statistics.fmean(found))
        rows.append(means[-1] * len(part))
        errors.extend(found)
    if not means:
        return Calibrated(0.0, 0.0, 0.0, 0)
    total = sum(len(part) for part in units.values() if len(part) >= count + 3)
    return Calibrated(
        100 * statistics.fmean(means), 100 * sum(rows) / total, 100 * statistics.median(errors), len(means)
    )


def _far_apart(part: Sequence[Outcome], count: int) -> tuple[int, ...]:
    """Rows whose times are made of different things: the most usual one first, then ever the farthest from those."""
    shares = [_shares(one) for one in part]
    middle = {name: statistics.fmean(one.get(name, 0.0) for one in shares) for name in set().union(*shares)}
    chosen = [min(range(len(part)), key=lambda i: _distance(shares[i], middle))]
    while len(chosen) < count:
        chosen.append(max(range(len(part)), key=lambda i: min(_distance(shares[i], shares[j]) for j in chosen)))
    return tuple(chosen)


def _shares(one: Outcome) -> dict[str, float]:
    scene = one.row.scene
    assert scene is not None
    times: dict[str, float] = {}
    for cost in costs_of(one):
        times[cost.coefficient] = (
            times.get(cost.coefficient, 0.0) + cost.quantity * scene.coefficients[cost.coefficient]
        )
    total = sum(times.values())
    return {name: time / total for name, time in times.items()}


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    return sum((one.get(name, 0.0) - other.get(name, 0.0)) ** 2 for name in one.keys() | other.keys())


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
