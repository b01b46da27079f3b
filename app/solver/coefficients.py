"""The constants of the speed model as values: what was fitted, how surely, and where it comes from.

The model is a sum of costs, each a quantity times one of these. So the same costs predict, are fitted to published
measurements, and are calibrated by those of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.facts import Basis

if TYPE_CHECKING:
    from app.solver.defects import Defect


@dataclass(frozen=True, slots=True)
class Coefficient:
    """One constant: milliseconds per unit of its quantity."""

    value: float
    low: float
    high: float
    """90 % of what the fit gives on other machines lies between `low` and `high`."""
    unit: str
    """Of the quantity that it multiplies."""
    why: str
    """What it stands for, in a few words."""
    source: str
    basis: Basis = "table"


@dataclass(frozen=True, slots=True)
class Coefficients:
    """A whole set: as shipped, or as calibrated for one machine."""

    values: Mapping[str, Coefficient]
    ranges: Mapping[str, tuple[float, float]]
    """`decode.hybrid` and the like to (low, high): measured over predicted, 90 %."""
    calibrated: str = ""
    """What a calibration was measured under (engine build, driver, power state); empty as shipped."""
    defects: tuple[Defect, ...] = ()
    """Known defects of engines and drivers, which no constant stands for."""

    def __getitem__(self, name: str) -> float:
        """The value of a constant.

        Raises:
            KeyError: there is none of that name.
        """
        return self.values[name].value
