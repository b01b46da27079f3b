"""The most likely constants of one machine, given its measurements: least squares on the logarithms of the times.

The unknowns are logarithms: first the factor that all constants of the trials share, then one for each constant that
takes enough of a measured time to be fitted. Each has a prior around 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from app.solver.coefficients import Coefficient, Coefficients
from app.solver.normal_equations import dot, inverse, product
from app.solver.scene import Cost

MACHINE_SPREAD = 0.17
"""Standard deviation (of the logarithm) of what all constants of a machine share. fit-2026-11."""
RESIDUAL_SPREAD = 0.10
"""What is left of the difference between model and measurement once the machine is known. fit-2026-11."""
OWN_SPREAD_SHARE = 1.0
"""How much of a constant's own spread the measurements may use. Of published rows of 36 machines that the fit left out:
once three of a machine are known, its others are 7.1 % off with all of it, 7.7 % with 0.3, 7.9 % with none."""
LEAST_SHARE = 0.10
"""Of a measured time, for a constant to be fitted."""
LEAST_ANGLE = 0.2
"""Sine of the angle to what is fitted already, below which two constants cannot be told apart."""
BOOTSTRAP_TO_SPREAD = 4.0
"""Machines differ from each other by so many times what the fitted mean is uncertain by (its `low` to `high`), as far
as those rows tell: from 2 to 4 their errors fall by 0.1 points, beyond it they stay."""
LEAST_SPREAD, MOST_SPREAD = 0.3, 1.0
NINETY_PERCENT = 1.645
"""Standard deviations on either side that hold 90 %."""
STEPS = 24
SETTLED = 1e-4
"""A step of the logarithms that changes nothing any more."""
ROBUST_FROM = 4
"""Trials from which one that is unlike the others counts for less: a misjudged kernel must not bend all constants."""
OUTLYING = 2.0
"""Standard deviations from which it does (Huber's weights)."""


class Trial(NamedTuple):
    """One measurement, and the costs that the model says it is made of."""

    costs: Sequence[Cost]
    measured_ms: float
    """In the costs' own unit: of a decode step, or of a prompt token."""
    kind: str = ""
    """Key of the range table that it belongs to, such as `decode.hybrid`."""
    noise: float = 0.0
    """Standard deviation of the logarithm, from its repetitions."""


def spread(coefficient: Coefficient) -> float:
    """Standard deviation of the logarithm of a constant over machines."""
    if min(coefficient.low, coefficient.high, coefficient.value) <= 0:
        return MOST_SPREAD
    of_mean = math.log(coefficient.high / coefficient.low) / (2 * NINETY_PERCENT)
    if coefficient.basis == "calibrated":
        return max(of_mean, 1e-3)
    return min(MOST_SPREAD, max(LEAST_SPREAD, BOOTSTRAP_TO_SPREAD * of_mean))


class MachineFit:
    """The unknowns are logarithms: first the factor that all share, then one per constant that is fitted."""

    def __init__(self, base: Coefficients, trials: Sequence[Trial], own_share: float, residual: float) -> None:
        self.base = base
        self.trials = trials
        self.times = [_by_coefficient(trial.costs) for trial in trials]
        self.weights = [1.0 / (residual**2 + trial.noise**2) for trial in trials]
        shares = [_shares(times, {name: base[name] for name in times}) for times in self.times]
        names = {name for times in self.times for name in times}
        self.most = {name: max(row.get(name, 0.0) for row in shares) for name in sorted(names)}
        self.fitted = sorted(
            (n for n, share in self.most.items() if share >= LEAST_SHARE), key=self._pull, reverse=True
        )
        self.told_apart, self.together = self._apart(shares)
        own = [
            spread(base.values[name]) * (1.0 if base.values[name].basis == "calibrated" else own_share)
            for name in self.fitted
        ]
        self.priors = [1.0 / MACHINE_SPREAD**2, *(1.0 / max(width, 1e-3) ** 2 for width in own)]
        self.unknowns = [0.0] * len(self.priors)
        self.covariance: list[list[float]] = []

    def _pull(self, name: str) -> float:
        """How much of the trials' time a constant takes: the larger one of two alike is fitted."""
        return sum(times.get(name, 0.0) * self.base[name] for times in self.times)

    def _apart(self, shares: Sequence[Mapping[str, float]]) -> tuple[list[str], dict[str, str]]:
        """Which fitted constants the trials tell apart, and with which one each of the others goes along."""
        apart: list[str] = []
        along: dict[str, str] = {}
        basis: list[list[float]] = []
        columns: dict[str, list[float]] = {}
        for name in self.fitted:
            column = [math.sqrt(w) * row.get(name, 0.0) for w, row in zip(self.weights, shares, strict=True)]
            length = math.sqrt(dot(column, column))
            rest = [value / length for value in column]
            columns[name] = rest
            for direction in basis:
                by = dot(rest, direction)
                rest = [value - by * of for value, of in zip(rest, direction, strict=True)]
            left = math.sqrt(dot(rest, rest))
            if left < LEAST_ANGLE:
                along[name] = max(apart, key=lambda other: dot(columns[name], columns[other]))
            else:
                apart.append(name)
                basis.append([value / left for value in rest])
        return apart, along

    def run(self) -> None:
        """Gauss-Newton: the logarithm of a sum is nearly straight, a few steps are enough."""
        for _ in range(STEPS):
            rows, misses = self._linearised(), self.residuals()
            size = len(self.unknowns)
            weights = self._robust(misses)
            normal = [
                [
                    sum(w * row[i] * row[j] for w, row in zip(weights, rows, strict=True))
                    + (self.priors[i] if i == j else 0.0)
                    for j in range(size)
                ]
                for i in range(size)
            ]
            right = [
                sum(w * row[i] * miss for w, row, miss in zip(weights, rows, misses, strict=True))
                - self.priors[i] * self.unknowns[i]
                for i in range(size)
            ]
            self.covariance = inverse(normal)
            step = product(self.covariance, right)
            self.unknowns = [x + max(-1.0, min(1.0, dx)) for x, dx in zip(self.unknowns, step, strict=True)]
            if max(map(abs, step)) < SETTLED:
                break

    def _robust(self, misses: Sequence[float]) -> list[float]:
        """The trials' weights, less for those far from what the others say."""
        if len(misses) < ROBUST_FROM:
            return self.weights
        return [w / max(1.0, abs(miss) * math.sqrt(w) / OUTLYING) for w, miss in zip(self.weights, misses, strict=True)]

    def _linearised(self) -> list[list[float]]:
        """Per trial, how the logarithm of its time follows each unknown: the shares of the time."""
        rows = []
        for times in self.times:
            shares = _shares(times, {name: self._value(name) for name in times})
            shared = sum(share for name, share in shares.items() if self._moves(name))
            rows.append([shared, *(shares.get(name, 0.0) for name in self.fitted)])
        return rows

    def residuals(self) -> list[float]:
        """Per trial, ln(measured / predicted) as things stand."""
        return [
            math.log(trial.measured_ms / sum(times[name] * self._value(name) for name in times))
            for trial, times in zip(self.trials, self.times, strict=True)
        ]

    def _moves(self, name: str) -> bool:
        """Whether the shared factor is for this one: it was in a trial, and is not calibrated already."""
        return name in self.most and self.base.values[name].basis != "calibrated"

    def _factor(self, name: str) -> float:
        own = self.unknowns[1 + self.fitted.index(name)] if name in self.fitted else 0.0
        return math.exp(own + (self.unknowns[0] if self._moves(name) else 0.0))

    def _value(self, name: str) -> float:
        return self.base[name] * self._factor(name)

    def values(self) -> dict[str, Coefficient]:
        """Every constant as it is on this machine."""
        return {name: self._calibrated(name, one) for name, one in self.base.values.items()}

    def _calibrated(self, name: str, base: Coefficient) -> Coefficient:
        factor = self._factor(name)
        if name not in self.told_apart:
            return replace(base, value=base.value * factor, low=base.low * factor, high=base.high * factor)
        at = 1 + self.fitted.index(name)
        variance = self.covariance[at][at]
        if self._moves(name):
            variance += self.covariance[0][0] + 2 * self.covariance[0][at]
        wide = math.exp(NINETY_PERCENT * math.sqrt(max(0.0, variance)))
        value = base.value * factor
        source = f"{counted(len(self.trials), 'measurement')} on this machine, from {base.source}"
        return replace(base, value=value, low=value / wide, high=value * wide, source=source, basis="calibrated")

    def refusals(self) -> dict[str, str]:
        """Every constant that was not identified, with the reason."""
        found = {}
        for name in self.base.values:
            if name not in self.most:
                found[name] = "no measurement uses it"
            elif name in self.together:
                found[name] = f"cannot be told apart from {self.together[name]}: the measurements use both alike"
            elif name not in self.told_apart:
                found[name] = (
                    f"takes at most {100 * self.most[name]:.0f} % of a measured time, where {100 * LEAST_SHARE:.0f} %"
                    " is the least to fit it by"
                )
        return found


def _by_coefficient(costs: Sequence[Cost]) -> dict[str, float]:
    """Quantities added up by constant."""
    found: dict[str, float] = {}
    for cost in costs:
        if cost.quantity > 0:
            found[cost.coefficient] = found.get(cost.coefficient, 0.0) + cost.quantity
    return found


def _shares(times: Mapping[str, float], values: Mapping[str, float]) -> dict[str, float]:
    total = sum(quantity * values[name] for name, quantity in times.items())
    return {name: quantity * values[name] / total for name, quantity in times.items()}


def counted(number: int, what: str) -> str:
    """`1 measurement`, `3 measurements`."""
    return f"{number} {what}" + ("" if number == 1 else "s")
