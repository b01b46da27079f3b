"""What every question to the speed model is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from app.solver.coefficients import Coefficients
from app.solver.model import ModelShape
from detectors.facts import Machine


@dataclass(frozen=True, slots=True)
class Engine:
    """Which program computes, as far as that changes how fast. Empty: not known, taken as a recent llama.cpp."""

    runtime: str = "llama.cpp"
    """`llama.cpp`, `ik_llama.cpp`, `ktransformers`."""
    backend: str = ""
    """Of the GPUs: `cuda`, `rocm`, `vulkan`, `sycl`, `metal`; `cpu` for a build without any."""
    driver: str = ""
    """Of Vulkan: `radv`, `amdvlk`, or `mesa` with its version."""
    built: str = ""
    """Date of the build, ISO; a year, a month or a day."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A model on a machine, with the constants to reckon with."""

    machine: Machine
    shape: ModelShape
    coefficients: Coefficients
    engine: Engine = Engine()


class Cost(NamedTuple):
    """One thing that takes time. Milliseconds are `quantity x coefficients[coefficient]`."""

    part: str
    """What it is: `attention`, `experts`, `head`, `kv`, `layers`, `crossing`, `streaming` ..."""
    device: str
    """Id of the device that it happens on; of a crossing, where the experts are."""
    coefficient: str
    """Name of the constant."""
    quantity: float


def total_ms(costs: list[Cost], coefficients: Coefficients) -> float:
    """All costs together, in milliseconds."""
    return sum(cost.quantity * coefficients[cost.coefficient] for cost in costs)
