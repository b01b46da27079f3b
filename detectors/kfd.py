"""AMD's compute driver as its topology describes it: /sys/class/kfd/kfd/topology. Reading it wakes no GPU."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.amd_tables import gfx_of_version
from detectors.host import Host
from detectors.numbers import natural

_NODES = "/sys/class/kfd/kfd/topology/nodes"


@dataclass(frozen=True, slots=True)
class KfdGpu:
    """A GPU node: what it is compiled for, and the width and clock of its memory."""

    gfx: str | None
    bus_bits: int | None
    memory_clock_mhz: int | None


@dataclass(frozen=True, slots=True)
class Kfd:
    """All nodes."""

    gpus: dict[str, KfdGpu]
    """By PCI address."""
    dimm_mts: int | None
    """Rated speed of the system's memory, as the firmware's tables state it."""
    denied: tuple[str, ...]
    """Nodes that exist but were not granted to this process, as in a container without the device."""


def read_kfd(host: Host) -> Kfd:
    """The topology; empty where there is no KFD."""
    gpus: dict[str, KfdGpu] = {}
    denied: list[str] = []
    dimm_mts: int | None = None
    for node in host.names(_NODES):
        path = f"{_NODES}/{node}"
        values = _properties(host, f"{path}/properties")
        if host.why(f"{path}/properties") in ("permission denied", "not permitted"):
            denied.append(node)
        bank = _properties(host, f"{path}/mem_banks/0/properties")
        if values.get("simd_count"):
            gpus[_bdf(values)] = KfdGpu(
                gfx=gfx_of_version(values.get("gfx_target_version", 0)),
                bus_bits=bank.get("width") or None,
                memory_clock_mhz=bank.get("mem_clk_max") or None,
            )
        elif values.get("cpu_cores_count"):
            dimm_mts = bank.get("mem_clk_max") or dimm_mts
    return Kfd(gpus, dimm_mts, tuple(denied))


def _bdf(values: dict[str, int]) -> str:
    location = values.get("location_id", 0)
    return f"{values.get('domain', 0):04x}:{location >> 8 & 255:02x}:{location >> 3 & 31:02x}.{location & 7}"


def _properties(host: Host, path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in (host.text(path) or "").splitlines():
        name, _, value = line.partition(" ")
        number = natural(value.strip())
        if number is not None:
            found[name] = number
    return found
