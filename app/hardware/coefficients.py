"""The speed model's constants as they ship: `presets/devices/speed*.toml`, read and checked."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from app.errors import MoetuneError
from app.resources import PRESETS
from app.solver.coefficients import Coefficient, Coefficients
from app.solver.defects import Defect

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
    return Coefficients(values, ranges, defects=_defects(PRESETS / "devices" / "defects.toml"))


def _read(path: Path) -> Coefficients:
    data = _load(path)
    try:
        values = {name: Coefficient(**entry) for name, entry in data["coefficients"].items()}
        ranges = {name: (float(low), float(high)) for name, (low, high) in data["ranges"].items()}
    except (KeyError, TypeError, ValueError) as error:
        raise _refused(path, error) from error
    return Coefficients(values, ranges)


def _defects(path: Path) -> tuple[Defect, ...]:
    data = _load(path)
    try:
        return tuple(Defect(**(entry | {"parts": tuple(entry["parts"])})) for entry in data["defect"])
    except (KeyError, TypeError) as error:
        raise _refused(path, error) from error


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> MoetuneError:
    return MoetuneError(f"The preset {path.name} cannot be used: {error}", hint=f"Correct {path}.")
