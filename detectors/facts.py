"""Everything the program can know about a machine, as frozen values.

Facts only: nothing here judges, reads or runs. A fact that could not be had is `None`, and a `Problem` says why.
Sizes are bytes, bandwidths GB/s (1e9 bytes), latencies microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Basis = Literal["measured", "calibrated", "driver", "table", "estimated"]
"""How a number came to be known, best first. `driver`: computed from what the driver reports."""

DeviceKind = Literal["cpu", "igpu", "dgpu", "remote"]


@dataclass(frozen=True, slots=True)
class Problem:
    """A fact that could not be had, and why."""

    source: str
    """Which detector or device it is about, such as `gpu_nvidia` or `cpu`."""
    reason: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor, all packages together."""

    model: str
    vendor: str
    architecture: str
    """`x86_64`, `aarch64`, as the kernel names it."""
    sockets: int | None
    physical_cores: int | None
    """Cores that are online and that this process may use; SMT siblings count once."""
    logical_cpus: int
    """CPUs that this process may use (affinity and cpuset applied)."""
    isa: tuple[str, ...] = ()
    """Instruction sets that matter for inference, in a fixed order: `avx2`, `avx512f`, `avx512_vnni`, `amx_int8`."""
    hypervisor: str | None = None
    """Name of the hypervisor, `unknown` where only its presence shows, `None` on bare metal."""


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """Bytes that one or more devices draw on. Counted once, however many devices share it."""

    id: str
    """`ram`, `vram:0000:03:00.0`, `remote:host:port`."""
    name: str
    total_bytes: int
    available_bytes: int | None
    """What could be taken now without paging; `None` where the system does not say."""
    physical_bytes: int | None = None
    """What the machine has, where a limit (a cgroup's) holds `total_bytes` below it."""


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
    """How much of the pool it can use at most (an APU's GTT plus carve-out); `None`: all of it."""
    arch: str | None = None
    """`gfx1151`, `sm_89`; `None` for CPUs and where unknown."""
    pci_bdf: str | None = None
    bandwidth_gbps: float | None = None
    """Peak read bandwidth of its memory."""
    bandwidth_basis: Basis = "estimated"
    fp16_tflops: float | None = None
    visible_vram_bytes: int | None = None
    """Resizable BAR: what of the VRAM the CPU can see."""
    driver: str | None = None
    gtt_bytes: int | None = None
    """AMD: system memory that the driver lets the GPU map; on an APU, most of what it computes from."""
    carveout_bytes: int | None = None
    """AMD APU: memory that the firmware took from the system for the GPU alone (outside MemTotal)."""


@dataclass(frozen=True, slots=True)
class Link:
    """The path between two devices."""

    from_id: str
    to_id: str
    bandwidth_gbps: float | None
    """One direction."""
    latency_us: float | None
    peer_to_peer: bool | None
    basis: Basis


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """The running kernel and how it was told to behave."""

    release: str
    """`uname -r`."""
    command_line: str | None
    distribution: str | None
    """`PRETTY_NAME` of os-release."""
    ttm_pages_limit: int | None = None
    """Pages that TTM may hand to GPUs; bounds the GTT of an APU."""
    container: str | None = None
    page_bytes: int = 4096
    distribution_family: str | None = None
    """How it is told kernel parameters: `debian`, `fedora`, `ostree`, `arch`, `nixos`, `suse` or `pop`."""
    ttm_module: str | None = None
    """`ttm`, or `amdttm` where the GPU driver is amdgpu-dkms; `None` where neither is loaded."""


@dataclass(frozen=True, slots=True)
class Machine:
    """All that was found out about one host."""

    host_name: str
    cpu: Cpu | None = None
    pools: tuple[MemoryPool, ...] = ()
    devices: tuple[Device, ...] = ()
    links: tuple[Link, ...] = ()
    kernel: KernelFacts | None = None
    problems: tuple[Problem, ...] = ()
    elapsed_ms: dict[str, float] = field(default_factory=dict)
    """How long each detector took."""

    def pool(self, pool_id: str) -> MemoryPool:
        """The pool of that id.

        Raises:
            KeyError: there is none.
        """
        for pool in self.pools:
            if pool.id == pool_id:
                return pool
        raise KeyError(pool_id)

    def device(self, device_id: str) -> Device:
        """The device of that id.

        Raises:
            KeyError: there is none.
        """
        for device in self.devices:
            if device.id == device_id:
                return device
        raise KeyError(device_id)
