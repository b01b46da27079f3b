"""One source of load and memory for each device of the machine."""

from __future__ import annotations

from typing import Protocol

from app.telemetry.sample import DeviceSample
from detectors.facts import Device, Machine
from detectors.host import Host


class DeviceSource(Protocol):
    """Reads one device. Never raises: what cannot be had is `None`, and the sample's reason says why."""

    def read(self) -> DeviceSample:
        """The device now. Called from one thread only."""
        ...

    def close(self) -> None:
        """Give back what reading took."""
        ...


class Unreadable:
    """A device of which nothing can be read.

    Args:
        device_id: which one.
        reason: why, one clause.
    """

    def __init__(self, device_id: str, reason: str) -> None:
        self._sample = DeviceSample(device_id, reason=reason)

    def read(self) -> DeviceSample:
        """The same each time: nothing but the reason."""
        return self._sample

    def close(self) -> None:
        """Nothing was taken."""


def device_sources(machine: Machine, host: Host) -> tuple[DeviceSource, ...]:
    """A source for each device, in the machine's order; only what is there is asked."""
    return tuple(_source(device, host) for device in machine.devices)


def _source(device: Device, host: Host) -> DeviceSource:
    if device.kind == "remote":
        return Unreadable(device.id, "on another host, which does not report its load")
    if device.kind == "cpu":
        if not host.live:
            return Unreadable(device.id, "a recorded machine has no load")
        from app.telemetry.cpu import CpuSource

        return CpuSource(device.id)
    if device.pci_bdf is not None and device.vendor == "NVIDIA":
        from app.telemetry.nvidia import NvidiaSource

        return NvidiaSource(device.id, device.pci_bdf, host)
    if device.pci_bdf is not None and device.vendor == "AMD":
        from app.telemetry.amd import AmdSource

        return AmdSource(device.id, device.pci_bdf, host, unified=device.kind == "igpu")
    return Unreadable(device.id, f"no source of load is known for {device.vendor or 'such'} devices")
