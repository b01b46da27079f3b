"""Facts about memory: the pools that devices draw on, and the system's memory in detail."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.facts.common import Basis


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """Bytes that one or more devices draw on. Counted once, however many devices share it."""

    id: str
    """`ram`, `vram:0000:03:00.0`, `remote:host:port`."""
    name: str
    total_bytes: int
    """Of `ram`: what this process may have of the system's memory, plus an APU's carve-out."""
    available_bytes: int | None
    """What could be taken now without paging; `None` where the system does not say."""
    physical_bytes: int | None = None
    """What the machine has, where a limit (a cgroup's) holds `total_bytes` below it."""
    carveout_bytes: int = 0
    """Of `ram`: the part of `total_bytes` that the firmware gave to the GPU alone. It is outside MemTotal, so the
    system's own memory is `total_bytes - carveout_bytes`."""


@dataclass(frozen=True, slots=True)
class Dimm:
    """One memory module (or package of soldered memory) as the firmware's tables describe it."""

    size_bytes: int
    type: str | None
    """`DDR5`, `LPDDR5`; the firmware's words."""
    rated_mts: int | None
    configured_mts: int | None
    """What it runs at."""
    width_bits: int | None
    """Data width as stated; firmware is known to say 32 or 64 for a DDR5 module alike."""
    locator: str = ""
    bank: str = ""


@dataclass(frozen=True, slots=True)
class MemoryBus:
    """Modules, channels, and the bandwidth that follows from them."""

    modules: tuple[Dimm, ...] = ()
    slots: int | None = None
    """Places for modules, empty ones included."""
    channels: int | None = None
    """Distinct channels that hold a module; `None` where the names of the slots do not say."""
    channels_how: str = ""
    """What told the channels apart, or why they are not known."""
    bits: int | None = None
    """Width of the bus, all channels together."""
    type: str | None = None
    rated_mts: int | None = None
    configured_mts: int | None = None
    theoretical_gbps: float | None = None
    basis: Basis = "driver"
    source: str = ""
    """`udev`, `smbios` or `kfd` (the speed alone)."""


@dataclass(frozen=True, slots=True)
class SwapArea:
    """One line of /proc/swaps."""

    kind: str
    """`zram`, `partition` or `file`."""
    size_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryFacts:
    """The system's memory. `None` is always "not known"; a limit that is not set is `UNLIMITED`."""

    total_bytes: int
    """MemTotal: what the kernel has, before any limit and without an APU's carve-out."""
    available_bytes: int | None = None
    """MemAvailable."""
    cma_free_bytes: int | None = None
    """Free contiguous memory; on an APU, MemAvailable without it is the safer figure."""
    gpu_node_bytes: int = 0
    """The part of MemTotal that is a GPU's memory shown as a NUMA node (POWER9, GH200); not in the pool `ram`."""
    limit_bytes: int | None = None
    """The tightest limit of this process's cgroups; `None`: none."""
    limit_file: str | None = None
    """The file that holds it."""
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    swap: tuple[SwapArea, ...] = ()
    zswap: bool | None = None
    hugepages_total: int | None = None
    hugepages_free: int | None = None
    hugepage_bytes: int | None = None
    transparent_hugepages: str | None = None
    """`always`, `madvise` or `never`."""
    memlock_bytes: int | None = None
    """What this process may lock (the soft RLIMIT_MEMLOCK)."""
    memlock_hard_bytes: int | None = None
    address_space_bytes: int | None = None
    """RLIMIT_AS (`ulimit -v`)."""
    overcommit: int | None = None
    """vm.overcommit_memory: 0 heuristic, 1 always, 2 never."""
    swappiness: int | None = None
    bus: MemoryBus | None = None
