"""Figures of how well predictions agree with measurements."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tests.benchmarks.outcomes import Outcome

_APART = 1.05
"""Two measurements are in an order where one is this much faster."""


@dataclass(frozen=True)
class Figures:
    """Errors in percent of the measured speed."""

    mape: float
    median_ape: float
    bias: float
    """Mean of predicted over measured, less 1."""
    coverage90: float
    """Percent of measurements in the stated 90 % range."""
    n: int
    machine_mape: float
    """Every machine counted once."""

    def as_json(self) -> dict[str, float | int]:
        """Rounded, by name."""
        return {
            "mape": round(self.mape, 2),
            "median_ape": round(self.median_ape, 2),
            "bias": round(self.bias, 2),
            "coverage90": round(self.coverage90, 2),
            "n": self.n,
            "machine_mape": round(self.machine_mape, 2),
        }


def figures_of(outcomes: Sequence[Outcome]) -> Figures | None:
    """Of the outcomes with a prediction; `None`: there are none."""
    known = [one for one in outcomes if not one.why_not]
    if not known:
        return None
    errors = [one.error for one in known]
    size = [abs(error) for error in errors]
    by_machine = grouped(known, lambda one: one.row.machine_key)
    machines = [statistics.fmean(abs(one.error) for one in part) for part in by_machine.values()]
    return Figures(
        mape=100 * statistics.fmean(size),
        median_ape=100 * statistics.median(size),
        bias=100 * statistics.fmean(errors),
        coverage90=100 * statistics.fmean(one.covered for one in known),
        n=len(known),
        machine_mape=100 * statistics.fmean(machines),
    )


def grouped(outcomes: Iterable[Outcome], key: Callable[[Outcome], str]) -> dict[str, list[Outcome]]:
    """Outcomes by a key, in the order in which the keys appear."""
    found: defaultdict[str, list[Outcome]] = defaultdict(list)
    for one in outcomes:
        found[key(one)].append(one)
    return dict(found)


def pair_order(outcomes: Iterable[Outcome]) -> tuple[float, int]:
    """Percent of pairs of one machine, more than 5 % apart, that are predicted in their order; and their number."""
    right = pairs = 0
    for part in grouped((one for one in outcomes if not one.why_not), lambda one: one.row.machine_key).values():
        for i, one in enumerate(part):
            for other in part[i + 1 :]:
                slow, fast = sorted((one, other), key=lambda each: each.measured)
                if fast.measured > _APART * slow.measured:
                    pairs += 1
                    right += fast.predicted > slow.predicted
    return (100 * right / pairs if pairs else 0.0), pairs
