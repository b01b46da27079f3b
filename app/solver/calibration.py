"""The constants of one machine, from the shipped ones and a few measurements made on it. Pure.

What a constant is on this machine = shipped value x a factor that all share x a factor of its own. Both factors are
log-normal around 1: the shared one carries 60 to 70 % of what machines differ by (reference fit: 0.17 between machines,
0.10 within one), a constant's own is as wide as the fit leaves it. The most likely factors given the measurements are
found by least squares on the logarithms of the times. With one measurement and no factors of their own, that is
`exp(sum ln(measured / predicted) / (k + (0.10 / 0.17)^2))`.

A constant that takes less than a tenth of every measured time, or that only ever goes along with another, is refused
by name: a number would come out, but it would not be this machine's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.solver.coefficients import Coefficient, Coefficients
from app.solver.machine_fit import NINETY_PERCENT, OWN_SPREAD_SHARE, RESIDUAL_SPREAD, MachineFit, Trial, counted
from app.solver.normal_equations import dot
from app.solver.scene import Cost

__all__ = ["CalibrationResult", "Trial", "calibrated", "calibrated_range"]

RANGE_SAME = ((0.83, 1.17), (0.84, 1.17), (0.86, 1.15))
RANGE_OTHER = ((0.78, 1.27), (0.79, 1.26), (0.79, 1.24))
"""Measured over predicted decode speed, 90 %, after 1, 2, 3 measurements of the machine: of the very model, type and
placement that is predicted, and of another. Published rows of 36 machines that the fit left out, 5,000 predictions
after draws at random, every machine counted once."""
PREFILL_RANGE_SAME = (0.75, 1.31)
"""The same of prefill, after one of the same configuration; another configuration's tells nothing. fit-2026-11."""


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """Constants of one machine, and what the measurements did and did not tell."""

    coefficients: Coefficients
    identified: Mapping[str, Coefficient]
    """By name: those that the trials fix, with their 90 % range on this machine."""
    refused: Mapping[str, str]
    """All others by name, with the reason."""
    multiplier: float
    """What all constants that the trials use were multiplied by: above 1 on a machine that is slower than most."""
    residuals: tuple[float, ...]
    """Per trial, ln(measured / predicted) with the calibrated constants."""
    notes: tuple[str, ...] = ()


def calibrated(
    coefficients: Coefficients,
    trials: Sequence[Trial],
    *,
    own_spread_share: float = OWN_SPREAD_SHARE,
    residual_spread: float = RESIDUAL_SPREAD,
) -> CalibrationResult:
    """The constants that explain the trials best, close to the shipped ones where the trials say little.

    Args:
        coefficients: to start from. One whose basis is `calibrated` already keeps within its own range, so decode can
            be calibrated first and prefill after it.
        trials: measurements; none gives the constants back as they are.
        own_spread_share: share of its spread that each constant may use; 1 for trials made to tell them apart.
        residual_spread: how far (logarithm) a correct model may be from a measurement without noise.
    """
    trials = [trial for trial in trials if trial.measured_ms > 0 and _total(trial.costs, coefficients) > 0]
    if not trials:
        refused = dict.fromkeys(coefficients.values, "nothing was measured")
        return CalibrationResult(coefficients, {}, refused, 1.0, ())
    fit = MachineFit(coefficients, trials, own_spread_share, residual_spread)
    fit.run()
    values = fit.values()
    ranges = dict(coefficients.ranges) | _ranges(coefficients.ranges, trials, fit.residuals())
    identified = {name: values[name] for name in fit.told_apart}
    return CalibrationResult(
        replace(coefficients, values=values, ranges=ranges),
        identified,
        fit.refusals(),
        math.exp(fit.unknowns[0]),
        tuple(fit.residuals()),
        _notes(fit, len(trials)),
    )


def calibrated_range(kind: str, trials: int, *, same: bool) -> tuple[float, float] | None:
    """Measured over predicted, 90 %, after that many trials of a kind; `None`: as without them.

    Args:
        kind: `decode.hybrid` and the like.
        trials: how many.
        same: whether they are of the very configuration that is predicted.
    """
    if trials < 1:
        return None
    if kind.startswith("prefill"):
        return PREFILL_RANGE_SAME if same else None
    table = RANGE_SAME if same else RANGE_OTHER
    return table[min(trials, len(table)) - 1]


def _total(costs: Sequence[Cost], coefficients: Coefficients) -> float:
    return sum(cost.quantity * coefficients[cost.coefficient] for cost in costs)


def _ranges(
    shipped: Mapping[str, tuple[float, float]], trials: Sequence[Trial], residuals: Sequence[float]
) -> dict[str, tuple[float, float]]:
    """For the kinds that were measured: as narrow as their number allows, as wide as the fit misses them."""
    found = {}
    for kind, count in Counter(trial.kind for trial in trials).items():
        known = calibrated_range(kind, count, same=False)
        if kind not in shipped or known is None:
            continue
        misses = [miss for miss, trial in zip(residuals, trials, strict=True) if trial.kind == kind]
        missed = math.exp(NINETY_PERCENT * math.sqrt(dot(misses, misses) / len(misses)))
        found[kind] = (min(known[0], 1 / missed), max(known[1], missed))
    return found


def _notes(fit: MachineFit, trials: int) -> tuple[str, ...]:
    percent = 100 * (math.exp(fit.unknowns[0]) - 1)
    direction = "more" if percent >= 0 else "less"
    return (
        f"By {counted(trials, 'measurement')}, this machine takes {abs(percent):.0f} % {direction} time than the"
        f" shipped constants say, and {len(fit.told_apart)} of them are its own.",
    )
