"""Fits the constants of prompts to published measurements, and says how well they predict machines that they never saw.

    python -m tests.benchmarks.fit_prefill ROWS.csv [--worst N]

Every row is a sum of costs, each a quantity times a constant. The logarithm of predicted over measured is minimized
with a robust loss; every constant has a prior, so that what the rows do not tell stays at what is known of it
otherwise. A machine weighs as the root of its rows.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from app.hardware.coefficients import shipped_coefficients
from app.solver.defects import defects_of
from app.solver.prefill import prefill_costs
from app.solver.streaming import OFFLOAD_TOKENS
from tests.benchmarks.rows import Row, is_drafted, read_rows

Floats = npt.NDArray[np.float64]

LOSS_SCALE = 0.2
"""Beyond this much of the logarithm, a residual weighs less (pseudo-Huber)."""

NOISE = 0.25
"""Standard deviation of the logarithm of one measurement, against which the priors weigh."""

PRIORS: dict[str, tuple[float, float]] = {
    "prefill_dense_cuda": (1.3, 0.4),
    "prefill_dense_hip": (3.0, 0.3),
    "prefill_dense_vulkan": (3.3, 0.3),
    "prefill_dense_amdvlk": (3.3, 0.3),
    "prefill_experts_cuda": (2.5, 0.5),
    "prefill_experts_hip": (6.0, 0.4),
    "prefill_experts_vulkan": (6.0, 0.4),
    "prefill_experts_amdvlk": (9.0, 0.5),
    "prefill_tiles_cuda": (10.0, 0.7),
    "prefill_tiles_hip": (30.0, 0.7),
    "prefill_tiles_vulkan": (30.0, 0.7),
    "prefill_tiles_amdvlk": (30.0, 0.7),
    "prefill_expert_calls": (0.03, 0.7),
    "prefill_weights": (1.4, 0.2),
    "prefill_attention_cuda": (1.4, 0.35),
    "prefill_attention_hip": (7.0, 0.4),
    "prefill_attention_vulkan": (8.0, 0.5),
    "prefill_attention_amdvlk": (25.0, 0.6),
    "prefill_wide_cuda": (1.6, 0.4),
    "prefill_wide_hip": (8.0, 0.5),
    "prefill_wide_vulkan": (8.0, 0.5),
    "prefill_wide_amdvlk": (25.0, 0.6),
    "prefill_mla_cuda": (2.5, 0.5),
    "prefill_mla_hip": (8.0, 0.4),
    "prefill_mla_vulkan": (6.0, 0.4),
    "prefill_mla_amdvlk": (25.0, 0.6),
    "prefill_state": (0.25, 0.5),
    "prefill_stream": (1.1, 0.2),
    "prefill_activations": (1.3, 0.3),
    "prefill_cpu_experts": (0.9, 0.3),
    "prefill_cpu_reads": (1.3, 0.3),
    "prefill_cpu_dense": (0.9, 0.4),
    "prefill_cpu_attention": (1.5, 0.7),
}
"""Value, and standard deviation of its logarithm."""


@dataclass(frozen=True)
class Sample:
    """One measurement as costs."""

    row: Row
    quantities: dict[str, float]
    ms: float
    placement: str

    def fixed_ms(self, others: dict[str, float]) -> float:
        """What constants that are not fitted here add."""
        return sum(quantity * others[name] for name, quantity in self.quantities.items() if name not in PRIORS)


def samples_of(rows: Iterable[Row]) -> list[Sample]:
    """The rows that can be asked."""
    found = []
    for row in rows:
        if unusable(row):
            continue
        assert row.scene is not None
        assert row.placement is not None
        assert row.parameters is not None
        assert row.prefill_tps is not None
        costs = prefill_costs(
            row.scene, row.placement, row.parameters, prompt_tokens=row.prompt_tokens, depth=row.prefill_depth
        )
        quantities: defaultdict[str, float] = defaultdict(float)
        for cost in costs:
            quantities[cost.coefficient] += cost.quantity
        found.append(Sample(row, dict(quantities), 1000 / row.prefill_tps, row.placement_class))
    return found


def unusable(row: Row) -> str:
    """Why a row is not fitted to; empty: it is."""
    cells = row.cells
    if row.why_not or not row.prefill_tps or row.fit_class != "A" or is_drafted(cells) or row.batch > 1:
        return row.why_not or "no clean prefill"
    if not cells.get("prompt_tokens") and not cells.get("context_depth"):
        return "neither the prompt's length nor its depth is stated"
    if "ngl=0" in cells["placement"]:
        return "a GPU computes what the placement leaves to the CPU"
    assert row.scene is not None
    assert row.placement is not None
    assert row.parameters is not None
    known = defects_of(row.scene, row.placement, row.parameters)
    return known[0].id if known else _early(row)


def _early(row: Row) -> str:
    """Builds of before what they lack came: no defect that a person meets today, and no physics."""
    assert row.scene is not None
    engine = row.scene.engine
    if engine.backend in ("rocm", "vulkan") and engine.built < "2025-09":
        return "a build of before the kernels for AMD's matrix units and for many experts"
    return "a prompt of too few tokens" if row.prompt_tokens < OFFLOAD_TOKENS else ""


class Fit:
    """Constants by name, fitted to samples."""

    def __init__(self, samples: Sequence[Sample], others: dict[str, float]) -> None:
        self.names = list(PRIORS)
        self._prior = np.log([PRIORS[name][0] for name in self.names])
        self._sigma = np.array([PRIORS[name][1] for name in self.names])
        self._others = others
        self.theta = self._solve(samples)

    def _solve(self, samples: Sequence[Sample]) -> Floats:
        quantities, fixed, measured = self._matrix(samples)
        counts: defaultdict[str, int] = defaultdict(int)
        for sample in samples:
            counts[sample.row.machine_key] += 1
        weights = np.array([1 / math.sqrt(counts[sample.row.machine_key]) for sample in samples])
        theta = self._prior.copy()
        for _ in range(60):
            parts = quantities * np.exp(theta)
            total = parts.sum(axis=1) + fixed
            residual = np.log(total / measured)
            share = parts / total[:, None]
            robust = weights / np.sqrt(1 + (residual / LOSS_SCALE) ** 2) / NOISE**2
            left = share.T @ (share * robust[:, None]) + np.diag(1 / self._sigma**2)
            right = -share.T @ (robust * residual) - (theta - self._prior) / self._sigma**2
            step = np.clip(np.linalg.solve(left, right), -0.3, 0.3)
            theta = theta + step
            if np.abs(step).max() < 1e-4:
                break
        self.information = 1 - np.sqrt(np.diag(np.linalg.inv(left))) / self._sigma
        return theta

    def _matrix(self, samples: Sequence[Sample]) -> tuple[Floats, Floats, Floats]:
        quantities = np.array([[sample.quantities.get(name, 0.0) for name in self.names] for sample in samples])
        fixed = np.array([sample.fixed_ms(self._others) for sample in samples])
        return quantities, fixed, np.array([sample.ms for sample in samples])

    def ratios(self, samples: Sequence[Sample]) -> Floats:
        """Measured over predicted speed."""
        quantities, fixed, measured = self._matrix(samples)
        return np.asarray((quantities @ np.exp(self.theta) + fixed) / measured)


def left_out(samples: Sequence[Sample], keys: Sequence[str], others: dict[str, float]) -> Floats:
    """Measured over predicted speed of every sample, by constants that saw nothing of its key."""
    found = np.zeros(len(samples))
    for key in sorted(set(keys)):
        out = [i for i, one in enumerate(keys) if one == key]
        fit = Fit([sample for sample, one in zip(samples, keys, strict=True) if one != key], others)
        found[out] = fit.ratios([samples[i] for i in out])
    return found


def figures(ratios: Floats) -> str:
    """Mean and median error of the predicted speed in percent, and its bias."""
    errors = np.abs(1 / ratios - 1)
    return f"{100 * errors.mean():5.1f} {100 * np.median(errors):5.1f} {np.median(1 / ratios):5.2f}"


def main() -> None:
    """Prints the fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--worst", type=int, default=0)
    options = parser.parse_args()
    shipped = shipped_coefficients()
    others = {name: one.value for name, one in shipped.values.items() if name not in PRIORS}
    samples = samples_of(read_rows(options.rows))
    kinds = [sample.placement for sample in samples]
    inside = Fit(samples, others)
    machine = left_out(samples, [sample.row.machine_key for sample in samples], others)
    group = left_out(samples, [sample.row.group for sample in samples], others)
    seen = inside.ratios(samples)
    for name, theta, info in zip(inside.names, inside.theta, inside.information, strict=True):
        print(f"{name:26} {math.exp(theta):7.3f}  prior {PRIORS[name][0]:6.2f}  told {info:4.2f}")
    print("class           n  m | in: mean med bias | machine out | group out | 5 %..95 % machine out")
    for kind in (*sorted(set(kinds)), "all"):
        at = np.array([kind in (one, "all") for one in kinds])
        hosts = len({sample.row.machine_key for sample, here in zip(samples, at, strict=True) if here})
        low, high = np.quantile(machine[at], (0.05, 0.95))
        errors = " | ".join(figures(ratios[at]) for ratios in (seen, machine, group))
        print(f"{kind:14} {at.sum():3} {hosts:2} | {errors} | {low:.2f} {high:.2f}")
    hosts_of = defaultdict(list)
    for i, sample in enumerate(samples):
        hosts_of[sample.row.machine_key, sample.placement].append(i)
    for (host, kind), at_rows in sorted(hosts_of.items(), key=lambda item: -len(item[1])):
        print(
            f"  {host[:44]:44} {kind:12} {len(at_rows):3} in {figures(seen[at_rows])} out {figures(machine[at_rows])}"
        )
    for i in np.argsort(-np.abs(np.log(machine)))[: options.worst]:
        one = samples[i]
        cells = one.row.cells
        name = f"{cells['backend'][:12]:12} {cells['model'][:24]:24} {cells['quant'][:10]:10}"
        print(f"{one.row.id} {one.row.machine_key[:30]:30} {name} d{one.row.prefill_depth} x{machine[i]:.2f}")


if __name__ == "__main__":
    main()
