"""What facts of every kind share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Basis = Literal["measured", "calibrated", "driver", "table", "estimated"]
"""How a number came to be known, best first. `driver`: computed from what the driver or the firmware reports."""

UNLIMITED = (1 << 63) - 1
"""Stands for "no limit" where a limit in bytes is stated, so that it compares as one."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A fact that could not be had, and why."""

    source: str
    """Which detector or device it is about, such as `gpu_nvidia` or `cpu`."""
    reason: str
    """One sentence."""
