"""What an engine loaded beside what its plan said: bytes by device, and the graph's splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.jobs.planning import PlannedRun
from app.runtimes.base import Engine
from app.runtimes.load_log import BreakdownRow, by_device, parse
from app.units import bytes_text

NOTABLE_SHARE = 0.05
"""A larger difference than this share of the plan's figure is told."""


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """One device's memory, planned and loaded: weights, KV cache and compute buffers."""

    device_id: str
    name: str
    """As the engine names it."""
    planned_bytes: int
    loaded_bytes: int
    mapped: bool = False
    """Whether weights are mapped from the file there: the engine then names the whole stretch of the file between the
    first and the last of them, and not their sum."""

    @property
    def difference(self) -> float | None:
        """Loaded over planned, less 1; `None` where the engine's figure is no sum."""
        return None if self.mapped or not self.planned_bytes else self.loaded_bytes / self.planned_bytes - 1

    @property
    def notable(self) -> bool:
        """Whether it should be told."""
        if not self.planned_bytes:
            return self.loaded_bytes > 0
        return self.difference is not None and abs(self.difference) > NOTABLE_SHARE

    @property
    def text(self) -> str:
        """`RPC0 loaded 402 MiB, planned 300 MiB (+34 %)`."""
        share = "" if self.difference is None else f" ({self.difference:+.0%})".replace("%", " %")
        return f"{self.name} loaded {bytes_text(self.loaded_bytes)}, planned {bytes_text(self.planned_bytes)}{share}"


@dataclass(frozen=True, slots=True)
class LoadCheck:
    """What the engine's log said of its load, beside the plan."""

    devices: tuple[DeviceLoad, ...]
    """Empty: the log said nothing."""
    splits: int | None
    """Graph splits at token generation: how often a token's work changes device."""
    breakdown: tuple[BreakdownRow, ...] = ()
    """The engine's own account at its exit, where it has ended and given one."""

    @property
    def told(self) -> tuple[str, ...]:
        """A line for each difference over `NOTABLE_SHARE`."""
        return tuple(device.text for device in self.devices if device.notable)


def check_load(planned: PlannedRun, lines: Sequence[str], breakdown: tuple[BreakdownRow, ...] = ()) -> LoadCheck:
    """Hold what an engine said while it loaded against its plan."""
    report = parse(lines)
    loaded: dict[str, int] = {}
    for buffers in (report.weight_bytes, report.kv_bytes, report.compute_bytes):
        for device_id, size in by_device(buffers, planned.engine).items():
            loaded[device_id] = loaded.get(device_id, 0) + size
    if not loaded:
        return LoadCheck((), report.splits, breakdown)
    wanted = {one.device_id: one.weight_bytes + one.kv_bytes + one.compute_bytes for one in planned.plan.memory}
    mapped = any(name.endswith("_Mapped") for name in report.weight_bytes)
    devices = tuple(
        DeviceLoad(
            device_id,
            _name(device_id, planned.engine),
            wanted.get(device_id, 0),
            loaded.get(device_id, 0),
            mapped and device_id == "cpu",
        )
        for device_id in dict.fromkeys((*wanted, *loaded))
    )
    return LoadCheck(devices, report.splits, breakdown)


def _name(device_id: str, engine: Engine) -> str:
    return next((device.name for device in engine.devices if device.device_id == device_id), device_id)
