"""Robust least squares with priors for a sum of costs: what fits the speed model's constants."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LOSS_SCALE = 0.15
"""Beyond this much of the logarithm, a residual weighs less (pseudo-Huber)."""
NOISE = 0.15
"""Standard deviation of the logarithm of one measurement, against which the priors weigh."""


def machine_weights(machines: Sequence[str]) -> Floats:
    """A machine weighs as the root of its rows."""
    counts = Counter(machines)
    return np.array([1 / math.sqrt(counts[name]) for name in machines])


def fitted(
    quantities: Floats, fixed: Floats, measured_ms: Floats, weights: Floats, prior: Floats, spread: Floats
) -> Floats:
    """The constants that explain the measurements best.

    Args:
        quantities: rows x constants.
        fixed: milliseconds of every row that no constant here is for.
        measured_ms: milliseconds of every row.
        weights: of the rows.
        prior: where the constants start; log-normal around it.
        spread: standard deviation of each one's logarithm.
    """
    theta = np.log(prior)
    start = theta.copy()
    damping, loss = 1e-3, _loss(theta, quantities, fixed, measured_ms, weights, start, spread)
    for _ in range(60):
        values = np.exp(theta)
        predicted = quantities @ values + fixed
        residual = np.log(predicted / measured_ms)
        jacobian = quantities * values / predicted[:, None]
        pull = weights / np.sqrt(1 + (residual / LOSS_SCALE) ** 2) / NOISE**2
        hessian = jacobian.T @ (jacobian * pull[:, None]) + np.diag(1 / spread**2)
        gradient = jacobian.T @ (pull * residual) + (theta - start) / spread**2
        for _ in range(10):
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            trial = theta - np.clip(step, -1.0, 1.0)
            found = _loss(trial, quantities, fixed, measured_ms, weights, start, spread)
            if found <= loss:
                damping = max(damping / 5, 1e-6)
                break
            damping *= 5
        else:
            break
        done = abs(loss - found) < 1e-7 * abs(loss)
        theta, loss = trial, found
        if done:
            break
    return np.exp(theta)


def _loss(
    theta: Floats, quantities: Floats, fixed: Floats, measured: Floats, weights: Floats, start: Floats, spread: Floats
) -> float:
    residual = np.log((quantities @ np.exp(theta) + fixed) / measured)
    robust = LOSS_SCALE**2 * (np.sqrt(1 + (residual / LOSS_SCALE) ** 2) - 1)
    return float(np.sum(weights * robust) / NOISE**2 + np.sum(((theta - start) / spread) ** 2) / 2)
