"""Load, memory, power and temperature of an AMD GPU, by sysfs. A sleeping GPU is not woken."""

from __future__ import annotations

from app.telemetry.sample import DeviceSample
from detectors.host import Host

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

    def read(self) -> DeviceSample:
        """What the driver says now."""
        busy = self._host.integer(f"{self._folder}/gpu_busy_percent")
        reason = ""
        if busy is None:
            why = self._host.why(f"{self._folder}/gpu_busy_percent")
            reason = "asleep" if why == _ASLEEP else f"load: {why}"
        power_uw = self._monitored("power1_average")
        if power_uw is None:
            power_uw = self._monitored("power1_input")  # what APUs have
        temperature_mc = self._monitored("temp1_input")
        return DeviceSample(
            self._device_id,
            load=None if busy is None else busy / 100,
            used_bytes=self._memory("used"),
            total_bytes=self._memory("total"),
            power_w=None if power_uw is None else power_uw / 1e6,
            temperature_c=None if temperature_mc is None else temperature_mc / 1000,
            reason=reason,
        )

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
