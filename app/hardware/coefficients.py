"""The speed model's constants as they ship: `presets/devices/speed*.toml`, read and checked."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from app.errors import MoetuneError
from app.resources import PRESETS
from app.solver.coefficients import Coefficient, Coefficients

_FILES = ("speed.toml", "speed_prefill.toml")


@cache
def shipped_coefficients() -> Coefficients:
    """The constants that were fitted to published measurements.

    Raises:
        MoetuneError: a preset is damaged.
    """
    values: dict[str, Coefficient] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for name in _FILES:
        one = _read(PRESETS / "devices" / name)
        values.update(one.values)
        ranges.update(one.ranges)
    return Coefficients(values, ranges)


def _read(path: Path) -> Coefficients:
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
        values = {name: Coefficient(**entry) for name, entry in data["coefficients"].items()}
        ranges = {name: (float(low), float(high)) for name, (low, high) in data["ranges"].items()}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise MoetuneError(f"The preset {path.name} cannot be used: {error}", hint=f"Correct {path}.") from error
    return Coefficients(values, ranges)
