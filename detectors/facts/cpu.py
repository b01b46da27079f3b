"""Facts about the processor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CoreKind = Literal["performance", "efficiency", "low-power", "big", "middle", "little"]
"""x86 names first; on Arm the classes are told apart by the kernel's `cpu_capacity`."""


@dataclass(frozen=True, slots=True)
class CoreType:
    """The cores of one kind, on a processor that has several."""

    kind: CoreKind
    cores: int
    """Physical cores that this process may use."""
    cpus: tuple[int, ...]
    """Their logical CPUs."""
    max_mhz: int | None = None
    model: str | None = None
    """Arm: `Cortex-X925`."""


@dataclass(frozen=True, slots=True)
class NumaNode:
    """Memory and the CPUs next to it. A node may have either without the other (CXL, HBM, a GPU's memory)."""

    id: int
    cpus: tuple[int, ...]
    memory_bytes: int | None
    free_bytes: int | None = None
    distances: tuple[int, ...] = ()
    """To every online node in the order of their ids; 10 is the node itself."""
    gpu_bdf: str | None = None
    """The GPU whose memory this is."""


@dataclass(frozen=True, slots=True)
class CacheDomain:
    """CPUs that share a last-level (L3) cache: on AMD, a core complex."""

    cpus: tuple[int, ...]
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Amx:
    """Intel's matrix units, as CPUID and the kernel see them."""

    features: tuple[str, ...] = ()
    """`amx_tile`, `amx_int8`, `amx_bf16`, `amx_fp16`, `amx_complex`: what CPUID reports (the last two never appear
    in /proc/cpuinfo), or the kernel's flags where CPUID could not be asked."""
    kernel_supports: bool | None = None
    """Whether the kernel saves the tile registers (`ARCH_GET_XCOMP_SUPP`; since Linux 5.16)."""
    granted: bool | None = None
    """Whether a process of this user was in fact given them (`ARCH_REQ_XCOMP_PERM`, asked in a child)."""
    why: str = ""
    """Why they are not granted, or why that is not known."""


@dataclass(frozen=True, slots=True)
class CpuPower:
    """How the processor's clock is governed. Read together: `powersave` means different things to two drivers."""

    driver: str | None = None
    """`amd-pstate-epp`, `intel_pstate`, `acpi-cpufreq`; under the first two, `powersave` is the normal mode."""
    governor: str | None = None
    preference: str | None = None
    """Energy-performance preference (EPP): `performance`, `balance_performance`, `balance_power`, `power`."""
    status: str | None = None
    """Of amd_pstate or intel_pstate: `active`, `passive`, `guided`."""
    profile: str | None = None
    """The firmware's platform profile: `low-power`, `balanced`, `performance`."""
    on_battery: bool | None = None


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
    """Instruction sets that matter for inference and that programs may use, in a fixed order: `avx2`, `avx512f`,
    `avx512_vnni`, `amx_int8`."""
    hypervisor: str | None = None
    """Name of the hypervisor, `unknown` where only its presence shows, `None` on bare metal."""
    family: int | None = None
    """x86 family, model and stepping as /proc/cpuinfo has them (decimal): they tell the generation."""
    model_number: int | None = None
    stepping: int | None = None
    online_cpus: int | None = None
    """CPUs of the host that are online, whether or not this process may use them."""
    smt: bool | None = None
    """Whether cores run several threads."""
    core_types: tuple[CoreType, ...] = ()
    """The kinds of cores, fastest first; empty where all are alike, or where the kernel does not say."""
    core_types_how: str = ""
    """What told them apart: the file, such as `cpu_capacity`."""
    numa_nodes: tuple[NumaNode, ...] = ()
    nodes_per_socket: int | None = None
    """Nodes with CPUs for each package: above 1 with sub-NUMA clustering (Intel SNC) or AMD's NPS 2 and 4."""
    l3_domains: tuple[CacheDomain, ...] = ()
    isa_hidden: tuple[str, ...] = ()
    """What CPUID reports but the kernel does not list (and programs must find out for themselves)."""
    amx: Amx | None = None
    """`None`: not an x86 processor, or neither flags nor CPUID show AMX."""
    power: CpuPower | None = None
    quota_cpus: float | None = None
    """The cgroup's `cpu.max` as a number of CPUs; `None`: no quota."""
    decode_threads: int | None = None
    """Threads for generation: the fast physical cores. It waits for memory, and one slow thread holds all back."""
    prefill_threads: int | None = None
    """Threads for prompts: every physical core, as work is handed out in pieces. Both heed the quota."""
