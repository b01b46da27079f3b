"""How the processor's CPUs belong together: cores, kinds of cores, NUMA nodes, shared caches."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

from detectors.cpulist import parse_cpulist
from detectors.facts import CacheDomain, CoreKind, CoreType, NumaNode
from detectors.host import Host
from detectors.numbers import natural
from detectors.pci import normal_bdf

_CPU = "/sys/devices/system/cpu"
_NODE = "/sys/devices/system/node"
_NVIDIA = "/proc/driver/nvidia/gpus"
_UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
# Favoured cores of one kind differ by a few percent (5.0 and 5.2 GHz), efficiency cores by a quarter (3.9 GHz).
_SAME_KIND_SHARE = 0.87
# Intel's own names of its kinds as performance-monitoring units (arch/x86/events/intel/core.c).
_INTEL_UNITS: tuple[tuple[str, CoreKind], ...] = (
    ("cpu_core", "performance"), ("cpu_atom", "efficiency"), ("cpu_lowpower", "low-power"),
)  # fmt: skip
_X86_KINDS: tuple[CoreKind, ...] = ("performance", "efficiency", "low-power")

Cores = Mapping[int, frozenset[int]]
"""For each usable CPU, all usable CPUs of its core."""


def cores_of(host: Host, usable: Iterable[int]) -> Cores | None:
    """Which CPUs share a core; `None` where the kernel does not say it of every one."""
    cores: dict[int, frozenset[int]] = {}
    allowed = frozenset(usable)
    for cpu in sorted(allowed):
        if cpu in cores:
            continue
        folder = f"{_CPU}/cpu{cpu}/topology"
        listed = parse_cpulist(host.text(f"{folder}/core_cpus_list") or host.text(f"{folder}/thread_siblings_list"))
        if not listed or cpu not in listed:
            return None
        siblings = listed & allowed
        cores.update(dict.fromkeys(siblings, siblings))
    return cores


def smt(host: Host, cores: Cores | None) -> bool | None:
    """Whether cores run several threads each; the kernel's word first."""
    active = host.text(f"{_CPU}/smt/active")
    if active in ("0", "1"):
        return active == "1"
    return any(len(core) > 1 for core in cores.values()) if cores else None


def core_types(host: Host, cores: Cores, parts: Mapping[int, str]) -> tuple[tuple[CoreType, ...], str]:
    """The kinds of cores, fastest first, and what told them apart; none where all are alike.

    Args:
        host: the host.
        cores: the usable CPUs.
        parts: Arm: the name of each CPU's core.
    """
    groups, how = _by_unit(host, cores), "/sys/devices/cpu_core"
    if not groups:
        groups, how = (_by_part(host, cores, parts), "cpu_capacity") if parts else (_by_clock(host, cores), "")
    if len(groups) < 2:
        return (), ""
    return tuple(
        CoreType(
            kind=kind,
            cores=len({cores[cpu] for cpu in cpus}),
            cpus=tuple(sorted(cpus)),
            max_mhz=max((mhz for cpu in cpus if (mhz := _max_mhz(host, cpu))), default=None),
            model=parts.get(min(cpus)),
        )
        for kind, cpus in groups
    ), how or "cpuinfo_max_freq"


def _by_unit(host: Host, cores: Cores) -> list[tuple[CoreKind, frozenset[int]]]:
    found = [(kind, parse_cpulist(host.text(f"/sys/devices/{unit}/cpus"))) for unit, kind in _INTEL_UNITS]
    return [(kind, cpus & cores.keys()) for kind, cpus in found if cpus and cpus & cores.keys()]


def _by_part(host: Host, cores: Cores, parts: Mapping[int, str]) -> list[tuple[CoreKind, frozenset[int]]]:
    """Arm: cores of one design are of one kind, whatever their clocks; their capacity ranks the designs."""
    by_part: defaultdict[str, set[int]] = defaultdict(set)
    for cpu in cores:
        by_part[parts.get(cpu, "")].add(cpu)

    def capacity(cpus: set[int]) -> tuple[int, int]:
        first = min(cpus)
        return host.natural(f"{_CPU}/cpu{first}/cpu_capacity") or 0, _max_mhz(host, first) or 0

    ranked = sorted(by_part.values(), key=capacity, reverse=True)
    last = len(ranked) - 1
    return [
        ("big" if rank == 0 else "little" if rank == last else "middle", frozenset(cpus))
        for rank, cpus in enumerate(ranked)
    ]


def _by_clock(host: Host, cores: Cores) -> list[tuple[CoreKind, frozenset[int]]]:
    """By the highest clock, where the kernel has no units: virtual machines, old kernels, AMD's dense cores."""
    clocks = {cpu: mhz for cpu in cores if (mhz := _max_mhz(host, cpu))}
    if len(clocks) < len(cores):
        return []
    groups: list[set[int]] = []
    top = 0
    for cpu in sorted(clocks, key=lambda cpu: -clocks[cpu]):
        if not groups or clocks[cpu] < _SAME_KIND_SHARE * top:
            groups.append(set())
            top = clocks[cpu]
        groups[-1].add(cpu)
    return [(kind, frozenset(cpus)) for kind, cpus in zip(_X86_KINDS, groups, strict=False)]


def _max_mhz(host: Host, cpu: int) -> int | None:
    khz = host.natural(f"{_CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq")
    return khz // 1000 if khz else None


def numa_nodes(host: Host) -> tuple[NumaNode, ...]:
    """Every node that is online, those without CPUs or without memory included."""
    found = (re.fullmatch("node([0-9]{1,4})", name) for name in host.names(_NODE))
    online = parse_cpulist(host.text(f"{_NODE}/online"))
    ids = sorted(int(match[1]) for match in found if match and (online is None or int(match[1]) in online))
    gpus = _gpu_nodes(host) if ids else {}
    nodes = []
    for node in ids:
        folder = f"{_NODE}/node{node}"
        sizes = _node_sizes(host.text(f"{folder}/meminfo") or "")
        distances = [natural(word) for word in (host.text(f"{folder}/distance") or "").split()]
        nodes.append(
            NumaNode(
                id=node,
                cpus=tuple(sorted(parse_cpulist(host.text(f"{folder}/cpulist")) or ())),
                memory_bytes=sizes.get("MemTotal"),
                free_bytes=sizes.get("MemFree"),
                distances=tuple(distance for distance in distances if distance is not None),
                gpu_bdf=gpus.get(node),
            )
        )
    return tuple(nodes)


def _node_sizes(text: str) -> dict[str, int]:
    """`Node 0 MemTotal:  1024 kB`."""
    rows = (re.fullmatch(r"Node \d+ (\w+):\s+(\d{1,18}) kB", line.strip()) for line in text.splitlines())
    return {row[1]: int(row[2]) * 1024 for row in rows if row}


def _gpu_nodes(host: Host) -> dict[int, str]:
    """Nodes that are NVIDIA GPUs' memory, as the driver says (POWER9 with NVLink, Grace Hopper)."""
    found: dict[int, str] = {}
    for name in host.names(_NVIDIA):
        row = re.search(r"^Node:\s+(\d{1,4})$", host.text(f"{_NVIDIA}/{name}/numa_status") or "", re.MULTILINE)
        bdf = normal_bdf(name)
        if row and bdf:
            found[int(row[1])] = bdf
    return found


def l3_domains(host: Host, usable: Iterable[int]) -> tuple[CacheDomain, ...]:
    """Groups of CPUs with one L3 cache, by their first CPU."""
    found: list[CacheDomain] = []
    covered: set[int] = set()
    for cpu in sorted(usable):
        if cpu in covered:
            continue
        folder = f"{_CPU}/cpu{cpu}/cache"
        for index in host.names(folder):  # which index is level 3 differs between processors
            if not index.startswith("index") or host.text(f"{folder}/{index}/level") != "3":
                continue
            cpus = parse_cpulist(host.text(f"{folder}/{index}/shared_cpu_list"))
            if cpus:
                covered |= cpus
                found.append(CacheDomain(tuple(sorted(cpus)), _size(host.text(f"{folder}/{index}/size"))))
    return tuple(found)


def _size(text: str | None) -> int | None:
    row = re.fullmatch(r"(\d{1,12})([KMG]?)", text or "")
    return int(row[1]) * _UNITS.get(row[2], 1) if row else None
