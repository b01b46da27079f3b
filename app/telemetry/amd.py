"""Load, memory, power and temperature of an AMD GPU, by sysfs. A sleeping GPU is not woken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.telemetry.sample import DeviceSample
from detectors.host import Host

if TYPE_CHECKING:
    from app.telemetry.amd_ioctl import IoctlGpu, IoctlReading

_ASLEEP = "not permitted"  # amdgpu's answer (EPERM) for a GPU that is runtime-suspended


class AmdSource:
    """One GPU.

    Args:
        device_id: how the machine names it.
        bdf: its PCI address.
        host: whose files are read.
        unified: it is part of an APU, whose memory is its carve-out and what it borrows of the RAM (GTT).
    """

    def __init__(self, device_id: str, bdf: str, host: Host, *, unified: bool) -> None:
        self._device_id = device_id
        self._host = host
        self._kinds = ("vram", "gtt") if unified else ("vram",)
        self._folder = _folder(host, bdf)
        monitors = host.names(f"{self._folder}/hwmon")
        self._monitor = f"{self._folder}/hwmon/{monitors[0]}" if monitors else None
        self._bdf = bdf
        self._by_ioctl: IoctlGpu | None = None
        self._ioctl_looked_for = not host.live

    def read(self) -> DeviceSample:
        """What the driver says now."""
        busy = self._host.integer(f"{self._folder}/gpu_busy_percent")
        reason = ""
        if busy is None:
            why = self._host.why(f"{self._folder}/gpu_busy_percent")
            reason = "asleep" if why == _ASLEEP else f"load: {why}"
            if why != _ASLEEP and (answered := self._ioctl()) is not None:
                return self._sample(answered.load, answered.power_w, answered.temperature_c, "")
        power_uw = self._monitored("power1_average")
        if power_uw is None:
            power_uw = self._monitored("power1_input")  # what APUs have
        temperature_mc = self._monitored("temp1_input")
        return self._sample(
            None if busy is None else busy / 100,
            None if power_uw is None else power_uw / 1e6,
            None if temperature_mc is None else temperature_mc / 1000,
            reason,
        )

    def _sample(
        self, load: float | None, power_w: float | None, temperature_c: float | None, reason: str
    ) -> DeviceSample:
        used, total = self._memory("used"), self._memory("total")
        return DeviceSample(self._device_id, load, used, total, power_w, temperature_c, reason)

    def _ioctl(self) -> IoctlReading | None:
        if not self._ioctl_looked_for:
            self._ioctl_looked_for = True
            from app.telemetry.amd_ioctl import IoctlGpu

            self._by_ioctl = IoctlGpu.find(self._bdf)
        return None if self._by_ioctl is None else self._by_ioctl.read()

    def close(self) -> None:
        """Nothing was taken."""

    def _memory(self, what: str) -> int | None:
        parts = [self._host.integer(f"{self._folder}/mem_info_{kind}_{what}") for kind in self._kinds]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    def _monitored(self, name: str) -> int | None:
        return None if self._monitor is None else self._host.integer(f"{self._monitor}/{name}")


def _folder(host: Host, bdf: str) -> str:
    """The device's folder: by its address on the bus, or, where only cards were recorded, by its card."""
    by_bus = f"/sys/bus/pci/devices/{bdf}"
    if host.exists(by_bus):
        return by_bus
    for name in host.names("/sys/class/drm"):
        folder = f"/sys/class/drm/{name}/device"
        if "-" not in name and f"PCI_SLOT_NAME={bdf}" in (host.text(f"{folder}/uevent") or "").splitlines():
            return folder
    return by_bus
