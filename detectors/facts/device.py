"""Facts about what computes, and the paths between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from detectors.facts.common import Basis

DeviceKind = Literal["cpu", "igpu", "dgpu", "remote"]

LinkPath = Literal["same memory", "peer-to-peer", "xgmi", "nvlink", "host", "through the host"]
"""`host`: between the CPU and a device's own memory. `through the host`: two devices by way of system memory."""

PCIE_LANE_GBPS = {2.5: 0.25, 5.0: 0.5, 8.0: 0.985, 16.0: 1.969, 32.0: 3.938, 64.0: 7.56}
"""GB/s of one lane in one direction by its GT/s: after 8b/10b, 128b/130b and FLIT encoding (PCI Express base spec)."""


@dataclass(frozen=True, slots=True)
class PcieLink:
    """The link between a device and its slot: AMD and Intel cards have a switch inside, whose far side it is."""

    current_gtps: float | None = None
    """GT/s per lane now. It falls to 2.5 when idle: judge it under load only."""
    current_width: int | None = None
    """Lanes in use now."""
    max_gtps: float | None = None
    """What both ends can do: the possible speed of this card in this slot."""
    max_width: int | None = None
    card_gtps: float | None = None
    """What the card alone can do; `None` where it is not told apart from the slot."""
    card_width: int | None = None
    bridge_bdf: str | None = None
    """The function whose link it is: the card's own upstream port, or the card itself."""
    partner_bdf: str | None = None
    """The other end: the slot's root port or switch."""
    tunnelled: bool = False
    """Over Thunderbolt or USB4: speed and width are made up then, and the bandwidth is not known."""
    source: str = ""
    """Where it was read: `pcie`, `nvml`, `kfd`."""
    why: str = ""
    """Why there is nothing to read, such as `asleep`."""

    @property
    def bandwidth_gbps(self) -> float | None:
        """GB/s in one direction at the possible speed and the width in use; `None` where not known."""
        width = self.current_width or self.max_width
        lane = PCIE_LANE_GBPS.get(self.max_gtps or self.current_gtps or 0)
        return None if self.tunnelled or not width or lane is None else width * lane


@dataclass(frozen=True, slots=True)
class Access:
    """A device file that an engine has to open."""

    path: str
    """`/dev/dri/renderD128`, `/dev/kfd`, `/dev/nvidia0`."""
    granted: bool | None
    """Whether this process may read and write it; `None` where that cannot be asked (a recorded host)."""
    group: str | None = None
    """The group that the file belongs to."""


FILLER_WORDS = frozenset({"NVIDIA", "AMD", "Intel", "Corporation", "Graphics", "Processor", "CPU", "GeForce", "Radeon"})
"""Words of a device's name that do not tell it from another one."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that computes."""

    id: str
    """`cpu`, `gpu:0000:03:00.0`, `remote:host:port`: stable over restarts."""
    kind: DeviceKind
    name: str
    vendor: str
    pool_id: str
    """The memory it computes from."""
    limit_bytes: int | None = None
    """How much of the pool it can use at most (an APU's GTT plus carve-out; the CPU: all but the carve-out);
    `None`: all of it."""
    arch: str | None = None
    """`gfx1151`, `sm_89`; `None` for CPUs and where unknown."""
    pci_bdf: str | None = None
    bandwidth_gbps: float | None = None
    """Peak read bandwidth of its memory."""
    bandwidth_basis: Basis = "estimated"
    fp16_tflops: float | None = None
    visible_vram_bytes: int | None = None
    """Resizable BAR: what of the VRAM the CPU can see (NVIDIA: the size of BAR1)."""
    driver: str | None = None
    gtt_bytes: int | None = None
    """AMD: system memory that the driver lets the GPU map; on an APU, most of what it computes from."""
    carveout_bytes: int | None = None
    """AMD APU: memory that the firmware took from the system for the GPU alone (outside MemTotal)."""
    available_bytes: int | None = None
    """What it could take now, where that is less than what its pool has free."""
    gtt_used_bytes: int | None = None
    carveout_used_bytes: int | None = None
    pci_id: str | None = None
    """`1002:1586`."""
    revision: int | None = None
    compute_units: int | None = None
    bus_bits: int | None = None
    memory_clock_mhz: int | None = None
    core_clock_mhz: int | None = None
    """The highest clock of its cores."""
    memory_reserved_bytes: int | None = None
    """NVIDIA: what driver and firmware keep of the memory for themselves; part of the pool's total."""
    link: PcieLink | None = None
    power_limit_w: float | None = None
    power_default_w: float | None = None
    power_max_w: float | None = None
    ecc: bool | None = None
    persistence: bool | None = None
    """NVIDIA: whether the driver stays loaded between programs."""
    asleep: bool | None = None
    """Runtime-suspended: then what would wake it was not read."""
    access: tuple[Access, ...] = ()
    render_node: str | None = None
    kfd_node: int | None = None
    """AMD: its node in the compute driver's topology; `None`: the compute driver does not list it."""
    numa_node: int | None = None
    iommu: str | None = None
    """`DMA` or `DMA-FQ` (translated), `identity` (passed through), `off` (no IOMMU group)."""

    @property
    def label(self) -> str:
        """What it is called in tables and sentences: `CPU`, `RTX 4090`, `8060S`; its name without maker and filler."""
        if self.kind == "cpu":
            return "CPU"
        words = [word.replace("(R)", "").replace("(TM)", "") for word in self.name.split()]
        return " ".join(word for word in words if word not in FILLER_WORDS) or self.name


@dataclass(frozen=True, slots=True)
class Link:
    """The path between two devices. Every pair is stated once, in the order of `Machine.devices`."""

    from_id: str
    to_id: str
    bandwidth_gbps: float | None
    """One direction."""
    latency_us: float | None
    peer_to_peer: bool | None
    """Whether one device reaches the other's memory without a copy in the host's; `None`: not known, see `why`."""
    basis: Basis
    path: LinkPath = "through the host"
    why: str = ""
    """Why it is peer-to-peer or not, or what is not known."""
    how: str = ""
    """How the bandwidth is known: `PCIe 4.0 x4 of 0000:03:00.0`, `KFD`."""
