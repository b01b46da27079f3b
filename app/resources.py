"""The data files that ship with the program: in the wheel under `app/_data`, in a checkout at its root."""

from __future__ import annotations

from pathlib import Path

_PACKAGED = Path(__file__).parent / "_data"
_ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[1]

PRESETS = _ROOT / "presets"
ASSETS = _ROOT / "assets"
