"""Where moetune keeps things: the XDG base directories, made when first written to.

`MOETUNE_HOME` puts all of them under one folder (tests, portable installs).
"""

from __future__ import annotations

import os
from pathlib import Path


def _xdg(variable: str, default: str, kind: str) -> Path:
    if home := os.environ.get("MOETUNE_HOME"):
        return Path(home) / kind
    base = os.environ.get(variable)
    return Path(base if base and base.startswith("/") else Path.home() / default) / "moetune"


def data_dir() -> Path:
    """Built engines, the database, generated models."""
    return _xdg("XDG_DATA_HOME", ".local/share", "data")


def state_dir() -> Path:
    """The running engine's record and the logs."""
    return _xdg("XDG_STATE_HOME", ".local/state", "state")


def cache_dir() -> Path:
    """What can be made again: downloads, probes of engines, memory oracles."""
    return _xdg("XDG_CACHE_HOME", ".cache", "cache")


def made(folder: Path) -> Path:
    """Return `folder` after making sure that it exists."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
