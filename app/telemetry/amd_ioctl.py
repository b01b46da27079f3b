"""Load, power and temperature of an AMD GPU by ioctl, through pyamdgpuinfo where it is installed.

What it adds to sysfs: a container that was given `/dev/dri` often has no `/sys/class/drm/*/device/hwmon` and no
`gpu_busy_percent`. It opens the device read-write, which wakes it: never asked of a GPU that sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class IoctlReading:
    """What the driver answered; `None` where it did not."""

    load: float | None
    """0 to 1."""
    power_w: float | None
    temperature_c: float | None


def installed() -> ModuleType | None:
    """The library, or `None` where it is not installed or its own library is missing."""
    try:
        import pyamdgpuinfo
    except (ImportError, OSError):
        return None
    module: ModuleType = pyamdgpuinfo
    return module


class IoctlGpu:
    """One GPU by its PCI address.

    Args:
        gpu: pyamdgpuinfo's handle.
    """

    def __init__(self, gpu: Any) -> None:  # noqa: ANN401 the library has no types
        self._gpu = gpu

    @classmethod
    def find(cls, bdf: str, library: ModuleType | None = None) -> IoctlGpu | None:
        """The GPU at that address; `None` without the library, without access, or where it has no address to match."""
        library = library or installed()
        if library is None:
            return None
        try:
            for index in range(library.detect_gpus()):
                gpu = library.get_gpu(index)
                if gpu.pci_slot == bdf:
                    return cls(gpu)
        except (OSError, RuntimeError):  # no /dev/dri, or no permission
            return None
        return None

    def read(self) -> IoctlReading:
        """Ask it now."""
        return IoctlReading(
            _answer(self._gpu.query_load), _answer(self._gpu.query_power), _answer(self._gpu.query_temperature)
        )


def _answer(query: Callable[[], float]) -> float | None:
    try:
        return float(query())
    except (OSError, RuntimeError):
        return None
