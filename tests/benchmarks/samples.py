"""Measured decode speeds as sums of costs, and how well constants explain them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.solver.decode import decode_costs
from app.solver.defects import defects_of
from tests.benchmarks.least_squares import Floats, fitted, machine_weights
from tests.benchmarks.rows import Row, is_drafted

PRIORS: dict[str, tuple[float, float]] = {
    "gpu_weights": (1.2, 0.3),
    "igpu_weights": (1.15, 0.3),
    "gpu_experts": (1.25, 0.3),
    "gpu_unpacking": (0.15, 0.6),
    "gpu_layer": (0.04, 0.5),
    "gpu_recurrent_layer": (0.06, 0.5),
    "gpu_latent_layer": (0.05, 0.6),
    "gpu_expert_layer": (0.04, 0.5),
    "kv": (1.5, 0.3),
    "kv_vulkan": (1.3, 0.3),
    "kv_amdvlk": (1.7, 0.3),
    "kv_hip": (1.6, 0.3),
    "kv_quantized": (7.0, 0.4),
    "kv_plain": (8.0, 0.4),
    "kv_latent": (4.0, 0.5),
    "cpu_weights": (1.15, 0.3),
    "cpu_laptop": (2.2, 0.2),
    "cpu_sockets": (4.5, 0.5),
    "kt_weights": (2.0, 0.4),
    "cpu_layer": (0.15, 0.7),
    "cpu_attention": (0.015, 0.6),
    "cpu_trellis": (0.016, 0.6),
    "crossing": (0.07, 0.6),
    "crossing_width": (0.1, 0.6),
    "crossing_threads": (0.03, 0.7),
    "kt_crossing": (0.08, 0.6),
    "rpc_node": (2.0, 0.7),
}
"""Value, and standard deviation of its logarithm: what is known of a constant without these rows."""


@dataclass(frozen=True)
class Sample:
    """One measurement as costs."""

    row: Row
    quantities: dict[str, float]
    ms: float
    """Measured, for one token of each sequence."""
    clean: bool
    """Whether it is plain physics: no known defect, and a machine whose memory is known."""


def why_not(row: Row) -> str:
    """Why a row's decode speed says nothing of the model; empty: it does."""
    if row.why_not:
        return row.why_not
    if not row.decode_tps:
        return "no decode speed"
    if is_drafted(row.cells):
        return "tokens were drafted"
    return ""


def samples_of(rows: Iterable[Row], classes: str = "A") -> list[Sample]:
    """The rows that can be asked, of these fit classes."""
    return [_sample(row) for row in rows if row.fit_class in classes and not why_not(row)]


def _sample(row: Row) -> Sample:
    assert row.scene is not None
    assert row.placement is not None
    assert row.parameters is not None
    assert row.decode_tps
    quantities: defaultdict[str, float] = defaultdict(float)
    for cost in decode_costs(row.scene, row.placement, row.parameters, context=row.context, batch=row.batch):
        quantities[cost.coefficient] += cost.quantity
    defects = defects_of(row.scene, row.placement, row.parameters)
    known = all(row.scene.machine.device(name).bandwidth_gbps for name in row.placement.devices)
    ms = 1000 * row.batch / row.decode_tps
    return Sample(row, dict(quantities), ms, known and not defects)


class Matrix:
    """Samples as arrays, so that constants can be fitted to any part of them."""

    def __init__(
        self,
        samples: Sequence[Sample],
        others: dict[str, float],
        names: Sequence[str] | None = None,
        priors: Mapping[str, tuple[float, float]] = PRIORS,
    ) -> None:
        self.samples = samples
        self.priors = priors
        self.names = list(priors if names is None else names)
        self.quantities = np.array([[one.quantities.get(name, 0.0) for name in self.names] for one in samples])
        self.fixed = np.array(
            [
                sum(value * others[name] for name, value in one.quantities.items() if name not in priors)
                for one in samples
            ]
        )
        self.ms = np.array([one.ms for one in samples])
        self.machines = np.array([one.row.machine_key for one in samples])
        self.groups = np.array([one.row.group for one in samples])
        self.classes = np.array([one.row.placement_class for one in samples])
        self.clean = np.array([one.clean for one in samples])
        self.weights = machine_weights(list(self.machines))
        self._prior = np.array([priors[name][0] for name in self.names])
        self._spread = np.array([priors[name][1] for name in self.names])

    def fit(self, chosen: np.ndarray) -> Floats:
        """Constants by the chosen rows."""
        part = (self.quantities[chosen], self.fixed[chosen], self.ms[chosen], self.weights[chosen])
        return fitted(*part, self._prior, self._spread)

    def predicted(self, values: Floats, chosen: np.ndarray | slice = slice(None)) -> Floats:
        """Milliseconds of the chosen rows."""
        return np.asarray(self.quantities[chosen] @ values + self.fixed[chosen])

    def left_out(self, keys: np.ndarray, train: np.ndarray) -> Floats:
        """Milliseconds of every row by constants that saw no row of the same key."""
        found = np.zeros(len(self.ms))
        for key in dict.fromkeys(keys.tolist()):
            own = keys == key
            found[own] = self.predicted(self.fit(train & ~own), own)
        return found
