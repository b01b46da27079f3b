"""Fits the constants of decoding to published measurements and writes presets/devices/speed.toml.

    python tests/benchmarks/fit.py ROWS.csv [--write]

Robust least squares on the logarithm of predicted over measured, over rows without caveats on machines whose memory is
known and without known defects. Every constant has a prior, and every machine weighs as the root of its rows. Ranges of
constants are a bootstrap over hardware groups; the 90 % ranges of predictions are quantiles over machines left out.
"""

from __future__ import annotations

import argparse
import random
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from app.hardware.coefficients import shipped_coefficients  # noqa: E402
from app.solver.defects import Defect, defects_of  # noqa: E402
from app.solver.prediction import placement_class  # noqa: E402
from tests.benchmarks.least_squares import Floats  # noqa: E402
from tests.benchmarks.rows import Row, read_rows  # noqa: E402
from tests.benchmarks.samples import PRIORS, Matrix, samples_of  # noqa: E402
from tests.benchmarks.speed_preset import preset_text  # noqa: E402

_DRAWS = 120
_TAIL = 0.04
"""On either side of a 90 % range: a little less than 5 %, as machines of no group here differ more."""
_UNIFIED_TAIL = 0.06
"""The same where most rows are of one processor (Strix Halo), whose builds differ less than machines do."""
_FEW = 6
"""Hardware groups below which a kind of placement has the range of all kinds, if that is wider."""
_MORE = 1.05
"""By how much a range of few groups is wider still: what others will be is a guess."""
KINDS = ("hybrid", "unified", "gpu", "cpu", "ktransformers", "igpu experts", "remote", "unknown bandwidth")


def main() -> int:
    """Fit, print, and write the preset where that is asked."""
    parser = argparse.ArgumentParser(description="Fit the constants of decoding.")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--write", action="store_true", help="write presets/devices/speed.toml")
    given = parser.parse_args()
    samples = samples_of(read_rows(given.rows))
    shipped = shipped_coefficients()
    matrix = Matrix(samples, {name: one.value for name, one in shipped.values.items()})
    values = matrix.fit(matrix.clean)
    low, high = bootstrap(matrix)
    told = told_by_rows(matrix, low, high)
    machines = len(set(matrix.machines[matrix.clean].tolist()))
    print(f"{int(matrix.clean.sum())} clean rows of {len(samples)}, {machines} machines")
    for i, name in enumerate(matrix.names):
        print(f"{name:22} {values[i]:9.4g}  {low[i]:9.4g} to {high[i]:9.4g}  prior {PRIORS[name][0]:g}  {told[i]:.0%}")
    ranges = conformal_ranges(matrix)
    for kind, (least, most) in ranges.items():
        print(f"decode.{kind:20} {least:.2f} to {most:.2f}")
    if given.write:
        fitted = {name: (values[i], low[i], high[i], told[i]) for i, name in enumerate(matrix.names)}
        basis = f"{int(matrix.clean.sum())} rows of {machines} machines, {date.today():%Y-%m}"
        path = ROOT / "presets" / "devices" / "speed.toml"
        path.write_text(preset_text(fitted, ranges, shipped, basis), encoding="utf-8")
    return 0


def bootstrap(matrix: Matrix) -> tuple[Floats, Floats]:
    """5 % and 95 % of the constants over draws of hardware groups."""
    chance = random.Random(1)
    groups = sorted(set(matrix.groups.tolist()))
    found = []
    for _ in range(_DRAWS):
        drawn = chance.choices(groups, k=len(groups))
        rows = np.concatenate([np.flatnonzero((matrix.groups == group) & matrix.clean) for group in drawn])
        found.append(matrix.fit(rows))
    return np.quantile(found, 0.05, axis=0), np.quantile(found, 0.95, axis=0)


def told_by_rows(matrix: Matrix, low: Floats, high: Floats) -> Floats:
    """The share of each prior's spread that the rows take away."""
    spread = np.log(high / low) / (2 * 1.645)
    prior = np.array([PRIORS[name][1] for name in matrix.names])
    used = (matrix.quantities[matrix.clean] > 0).any(axis=0)
    return np.asarray(np.where(used, np.clip(1 - spread / prior, 0, 1), 0.0))


def conformal_ranges(matrix: Matrix) -> dict[str, tuple[float, float]]:
    """Measured over predicted speed by kind of placement, 90 %, of machines and groups that the constants did not see.

    The wider of both counts. A kind of few groups has at least the range of all kinds together.
    """
    left_out = [matrix.left_out(keys, matrix.clean) / matrix.ms for keys in (matrix.machines, matrix.groups)]
    kinds = np.array([_kind(i, matrix) for i in range(len(matrix.ms))])
    described = (kinds != "unknown bandwidth") & matrix.clean
    pooled = _widest(left_out, described, matrix)
    found = {}
    for kind in KINDS:
        chosen = (kinds == kind) & (matrix.clean if kind != "unknown bandwidth" else True)
        if not chosen.any():
            found[kind] = (pooled[0] * 0.9, pooled[1] * 1.1)
            continue
        low, high = _widest(left_out, chosen, matrix, _UNIFIED_TAIL if kind == "unified" else _TAIL)
        if len(set(matrix.groups[chosen].tolist())) < _FEW:
            low, high = min(low, pooled[0]) / _MORE, max(high, pooled[1]) * _MORE
        found[kind] = (low, high)
    found["known defect"] = _widest(left_out, np.array([bool(_defects(one.row)) for one in matrix.samples]), matrix)
    return found


def _defects(row: Row) -> tuple[Defect, ...]:
    assert row.scene is not None
    assert row.placement is not None
    assert row.parameters is not None
    return defects_of(row.scene, row.placement, row.parameters)


def _widest(ratios: list[Floats], chosen: np.ndarray, matrix: Matrix, tail: float = _TAIL) -> tuple[float, float]:
    ends = [_quantiles(ratio, chosen, matrix, tail) for ratio in ratios]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _kind(index: int, matrix: Matrix) -> str:
    row = matrix.samples[index].row
    assert row.scene is not None
    assert row.placement is not None
    return placement_class(row.scene, row.placement)


def _quantiles(ratio: Floats, chosen: np.ndarray, matrix: Matrix, tail: float) -> tuple[float, float]:
    values, weights = ratio[chosen], matrix.weights[chosen]
    order = np.argsort(values)
    total = np.cumsum(weights[order]) / weights.sum()
    low = values[order][int(np.searchsorted(total, tail))]
    high = values[order][min(len(values) - 1, int(np.searchsorted(total, 1 - tail)))]
    return float(min(low, 0.9)), float(max(high, 1.1))


if __name__ == "__main__":
    sys.exit(main())
