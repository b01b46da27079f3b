"""AMD's compute driver as its topology describes it: /sys/class/kfd/kfd/topology. Reading it wakes no GPU."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.amd_tables import gfx_of_version
from detectors.host import Host
from detectors.numbers import natural

_NODES = "/sys/class/kfd/kfd/topology/nodes"
_PCIE, _XGMI = 2, 11  # CRAT_IOLINK_TYPE_* of drivers/gpu/drm/amd/amdkfd/kfd_crat.h


@dataclass(frozen=True, slots=True)
class KfdGpu:
    """A GPU node: what it is compiled for, and the width and clock of its memory."""

    node: int
    gfx: str | None
    bus_bits: int | None
    memory_clock_mhz: int | None
    compute_units: int | None
    core_clock_mhz: int | None
    host_gbps: float | None
    """The link to the processor: what both could do, not what the slot's wiring allows. Made up for an APU."""


@dataclass(frozen=True, slots=True)
class KfdPeer:
    """A way from one GPU to another that the compute driver made."""

    from_bdf: str
    to_bdf: str
    xgmi: bool
    bandwidth_gbps: float | None


@dataclass(frozen=True, slots=True)
class Kfd:
    """All nodes."""

    gpus: dict[str, KfdGpu]
    """By PCI address."""
    dimm_mts: int | None
    """Rated speed of the system's memory, as the firmware's tables state it."""
    peers: tuple[KfdPeer, ...]
    """Between GPUs, each pair once."""
    denied: tuple[str, ...]
    """Nodes that exist but were not granted to this process, as in a container without the device."""


def read_kfd(host: Host) -> Kfd:
    """The topology; empty where there is no KFD."""
    gpus: dict[str, KfdGpu] = {}
    denied: list[str] = []
    links: list[dict[str, int]] = []
    bdf_of: dict[int, str] = {}
    dimm_mts: int | None = None
    for node in host.names(_NODES):
        path = f"{_NODES}/{node}"
        values = _properties(host, f"{path}/properties")
        if host.why(f"{path}/properties") in ("permission denied", "not permitted"):
            denied.append(node)
        bank = _properties(host, f"{path}/mem_banks/0/properties")
        if values.get("simd_count") and node.isdecimal():
            own = _links(host, path)
            links += own
            bdf_of[int(node)] = _bdf(values)
            gpus[_bdf(values)] = KfdGpu(
                node=int(node),
                gfx=gfx_of_version(values.get("gfx_target_version", 0)),
                bus_bits=bank.get("width") or None,
                memory_clock_mhz=bank.get("mem_clk_max") or None,
                compute_units=values["simd_count"] // (values.get("simd_per_cu") or 1),
                core_clock_mhz=values.get("max_engine_clk_fcompute") or None,
                host_gbps=max((_gbps(link) or 0 for link in own if link.get("type") == _PCIE), default=0) or None,
            )
        elif values.get("cpu_cores_count"):
            dimm_mts = bank.get("mem_clk_max") or dimm_mts
    return Kfd(gpus, dimm_mts, _peers(links, bdf_of), tuple(denied))


def _links(host: Host, node: str) -> list[dict[str, int]]:
    """Those of `io_links`, and of `p2p_links`, which newer kernels keep apart."""
    folders = [f"{node}/{kind}" for kind in ("io_links", "p2p_links")]
    return [_properties(host, f"{folder}/{name}/properties") for folder in folders for name in host.names(folder)]


def _peers(links: list[dict[str, int]], bdf_of: dict[int, str]) -> tuple[KfdPeer, ...]:
    """The links whose two ends are GPUs: on hosts of several nodes, far processors are listed there too."""
    found: dict[frozenset[str], KfdPeer] = {}
    for link in links:
        one, two = bdf_of.get(link.get("node_from", -1)), bdf_of.get(link.get("node_to", -1))
        if one and two and one != two:
            found.setdefault(frozenset((one, two)), KfdPeer(one, two, link.get("type") == _XGMI, _gbps(link)))
    return tuple(found.values())


def _gbps(link: dict[str, int]) -> float | None:
    megabytes = link.get("max_bandwidth")
    return megabytes / 1000 if megabytes else None


def dimm_speed(host: Host) -> int | None:
    """Rated MT/s of the system's memory: KFD copies it from the firmware's tables for everyone to read."""
    for node in host.names(_NODES):
        bank = _properties(host, f"{_NODES}/{node}/mem_banks/0/properties")
        if bank.get("heap_type") == 0 and bank.get("mem_clk_max"):
            return bank["mem_clk_max"]
    return None


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
