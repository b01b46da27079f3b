"""Fits the constants of prompts to published measurements and writes presets/devices/speed_prefill.toml.

    python tests/benchmarks/fit_prefill.py ROWS.csv [--write] [--worst N]

The same robust least squares as for decoding (tests/benchmarks/fit.py), over prompts of known length. Prints errors in
percent (mean, median, bias) in sample, and by constants that saw nothing of the machine or of its hardware group.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from app.hardware.coefficients import shipped_coefficients  # noqa: E402
from app.solver.prediction import placement_class  # noqa: E402
from tests.benchmarks.fit import KINDS, bootstrap  # noqa: E402
from tests.benchmarks.least_squares import NOISE, Floats  # noqa: E402
from tests.benchmarks.prefill_preset import preset_text  # noqa: E402
from tests.benchmarks.prefill_samples import PRIORS, prompts_of  # noqa: E402
from tests.benchmarks.rows import Row, read_rows  # noqa: E402
from tests.benchmarks.samples import Matrix  # noqa: E402

_TAIL = 0.04
"""On either side of a 90 % range: a little less than 5 %, as machines of no group here differ more."""
_FEW = 6
"""Machines below which a kind has the range of all kinds, if that is wider."""
_ODD = ("remote", "unknown bandwidth", "igpu experts")
_MARGIN = 1.1
"""Kinds of which less is known, and by how much their range is wider."""


def main() -> int:
    """Fit, print, and write the preset where that is asked."""
    parser = argparse.ArgumentParser(description="Fit the constants of prompts.")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--write", action="store_true", help="write presets/devices/speed_prefill.toml")
    parser.add_argument("--worst", type=int, default=0, help="how many of the worst rows to name")
    given = parser.parse_args()
    shipped = {name: one.value for name, one in shipped_coefficients().values.items()}
    matrix = Matrix(prompts_of(read_rows(given.rows)), shipped, priors=PRIORS)
    values = matrix.fit(matrix.clean)
    low, high = bootstrap(matrix)
    told = told_by_rows(matrix, values)
    left = np.exp(1.645 * (1 - told) * np.array([PRIORS[name][1] for name in matrix.names]))
    low, high = np.minimum(low, values / left), np.maximum(high, values * left)
    for i, name in enumerate(matrix.names):
        print(f"{name:26} {values[i]:8.3g}  {low[i]:8.3g} to {high[i]:8.3g}  prior {PRIORS[name][0]:g}  {told[i]:.0%}")
    ranges = prompt_ranges(matrix)
    _print_figures(matrix, values, given.worst)
    for kind, (least, most) in ranges.items():
        print(f"prefill.{kind:20} {least:.2f} to {most:.2f}")
    if given.write:
        fitted = {name: (values[i], low[i], high[i], told[i]) for i, name in enumerate(matrix.names)}
        machines = len(set(matrix.machines[matrix.clean].tolist()))
        basis = f"{int(matrix.clean.sum())} rows of {machines} machines, {date.today():%Y-%m}"
        path = ROOT / "presets" / "devices" / "speed_prefill.toml"
        path.write_text(preset_text(fitted, ranges, basis), encoding="utf-8")
    return 0


def told_by_rows(matrix: Matrix, values: Floats) -> Floats:
    """The share of each prior's spread that the rows take away, by the curvature of the loss."""
    rows, spread = matrix.clean, np.array([matrix.priors[name][1] for name in matrix.names])
    shares = matrix.quantities[rows] * values / matrix.predicted(values, rows)[:, None]
    curvature = shares.T @ (shares * (matrix.weights[rows] / NOISE**2)[:, None]) + np.diag(1 / spread**2)
    return np.asarray(1 - np.sqrt(np.diag(np.linalg.inv(curvature))) / spread)


def prompt_ranges(matrix: Matrix) -> dict[str, tuple[float, float]]:
    """Measured over predicted speed by kind of placement, 90 %, of machines that the constants did not see."""
    ratio = matrix.left_out(matrix.machines, matrix.clean) / matrix.ms
    kinds = np.array([_kind(sample.row) for sample in matrix.samples])
    pooled = _quantiles(ratio, matrix.clean, matrix)
    found = {}
    for kind in KINDS:
        chosen = (kinds == kind) & matrix.clean
        low, high = _quantiles(ratio, chosen, matrix) if chosen.any() else pooled
        if len(set(matrix.machines[chosen].tolist())) < _FEW or kind in _ODD:
            margin = _MARGIN if kind in _ODD else 1.0
            low, high = min(low, pooled[0]) / margin, max(high, pooled[1]) * margin
        found[kind] = (low, high)
    return found


def _kind(row: Row) -> str:
    assert row.scene is not None
    assert row.placement is not None
    return placement_class(row.scene, row.placement)


def _quantiles(ratio: Floats, chosen: np.ndarray, matrix: Matrix) -> tuple[float, float]:
    values, weights = ratio[chosen], matrix.weights[chosen]
    order = np.argsort(values)
    total = np.cumsum(weights[order]) / weights.sum()
    low, high = (values[order][min(len(values) - 1, int(np.searchsorted(total, at)))] for at in (_TAIL, 1 - _TAIL))
    return float(min(low, 0.8)), float(max(high, 1.25))


def _print_figures(matrix: Matrix, values: Floats, worst: int) -> None:
    ways = (
        matrix.predicted(values),
        matrix.left_out(matrix.machines, matrix.clean),
        matrix.left_out(matrix.groups, matrix.clean),
    )
    print(f"{'':20} rows machines | in sample        | machine out      | hardware group out")
    for kind in (*sorted(set(matrix.classes.tolist())), "clean", "all"):
        at = {"clean": matrix.clean, "all": matrix.clean | True}.get(kind, (matrix.classes == kind) & matrix.clean)
        hosts = len(set(matrix.machines[at].tolist()))
        figures = " | ".join(_figures(predicted[at], matrix.ms[at]) for predicted in ways)
        print(f"{kind:20} {int(at.sum()):4} {hosts:8} | {figures}")
    ratio = matrix.ms / ways[1]
    for i in np.argsort(-np.abs(np.log(ratio)))[:worst]:
        cells = matrix.samples[i].row.cells
        name = (
            f"{cells['machine'][:32]:32} {cells['backend'][:12]:12} {cells['model'][:24]:24} {cells['quant'][:10]:10}"
        )
        print(f"{cells['id']} {name} at {matrix.samples[i].row.prefill_depth}: predicted x{ratio[i]:.2f}")


def _figures(predicted: Floats, measured: Floats) -> str:
    """Mean and median error of the speed in percent, and its median bias."""
    errors = measured / predicted - 1
    return f"{100 * np.abs(errors).mean():5.1f} {100 * np.median(np.abs(errors)):5.1f} {100 * np.median(errors):+5.1f}"


if __name__ == "__main__":
    sys.exit(main())
