"""The system's memory, as far as this process may have it: /proc/meminfo, held down by the cgroup's limit."""

from __future__ import annotations

from dataclasses import replace

from detectors.cgroup import memory_limits
from detectors.cpu_topology import numa_nodes
from detectors.facts import UNLIMITED, MemoryFacts, MemoryPool, Problem, SwapArea
from detectors.host import Host
from detectors.memory_bus import memory_bus
from detectors.numbers import natural
from detectors.registry import Found, detector

_THP = "/sys/kernel/mm/transparent_hugepage/enabled"


@detector("memory")
def detect_memory(host: Host) -> Found:
    """The pool `ram`, and what else there is to say of the system's memory."""
    if host.system() != "Linux":
        return Found()  # `elsewhere` answers there
    info = meminfo(host)
    shown = info.get("MemTotal")
    if not shown:
        why = host.why("/proc/meminfo") or "it has no MemTotal"
        return Found(problems=(Problem("memory", f"the size of the memory is not known: /proc/meminfo: {why}"),))
    # Some GPUs show their memory as NUMA nodes, and MemTotal counts it.
    on_gpus = [node for node in numa_nodes(host) if node.gpu_bdf and not node.cpus]
    gpu_bytes = sum(node.memory_bytes or 0 for node in on_gpus)
    physical = shown - gpu_bytes if gpu_bytes < shown else shown
    available = info.get("MemAvailable")
    limits = memory_limits(host)
    tightest = min(limits, key=lambda limit: limit.limit_bytes, default=None)
    total = min(physical, tightest.limit_bytes) if tightest else physical
    facts = _facts(host, info, gpu_bytes if physical < shown else 0)
    if tightest:
        facts = replace(facts, limit_bytes=tightest.limit_bytes, limit_file=tightest.file)
    if available is not None:
        on_gpu_free = sum(node.free_bytes or 0 for node in on_gpus) if physical < shown else 0
        rooms = [limit.available_bytes for limit in limits if limit.available_bytes is not None]
        available = min([max(0, available - on_gpu_free), total, *rooms])
    problems = () if available is not None else (Problem("memory", "how much memory is free is not known"),)
    pool = MemoryPool("ram", "System memory", total, available, physical if total < physical else None)
    return Found(pools=(pool,), memory=facts, problems=problems)


def _facts(host: Host, info: dict[str, int], gpu_bytes: int) -> MemoryFacts:
    locked, hard = _rlimit(host, "memlock")
    space, _ = _rlimit(host, "as")
    zswap = host.text("/sys/module/zswap/parameters/enabled")
    chosen = (host.text(_THP) or "").partition("[")[2].partition("]")[0]
    return MemoryFacts(
        total_bytes=info["MemTotal"],
        available_bytes=info.get("MemAvailable"),
        cma_free_bytes=info.get("CmaFree"),
        gpu_node_bytes=gpu_bytes,
        swap_total_bytes=info.get("SwapTotal"),
        swap_free_bytes=info.get("SwapFree"),
        swap=_swap(host),
        zswap=None if zswap is None else zswap == "Y",
        hugepages_total=info.get("HugePages_Total"),
        hugepages_free=info.get("HugePages_Free"),
        hugepage_bytes=info.get("Hugepagesize"),
        transparent_hugepages=chosen or None,
        memlock_bytes=locked,
        memlock_hard_bytes=hard,
        address_space_bytes=space,
        overcommit=host.natural("/proc/sys/vm/overcommit_memory"),
        swappiness=host.natural("/proc/sys/vm/swappiness"),
        bus=memory_bus(host),
    )


def _rlimit(host: Host, name: str) -> tuple[int | None, int | None]:
    """Soft and hard limit of this process."""
    found = host.ask("rlimits")
    pair = found.get(name) if isinstance(found, dict) else None
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(limit, int) for limit in pair):
        return None, None
    soft, hard = (UNLIMITED if limit < 0 else min(limit, UNLIMITED) for limit in pair)
    return soft, hard


def _swap(host: Host) -> tuple[SwapArea, ...]:
    """/proc/swaps: name, type, size and use in KiB, priority."""
    found = []
    for line in (host.text("/proc/swaps") or "").splitlines()[1:]:
        words = line.split()
        size, used = (natural(word) for word in words[2:4]) if len(words) >= 4 else (None, None)
        if size is not None and used is not None:
            kind = "zram" if "/zram" in words[0] else words[1]
            found.append(SwapArea(kind, size * 1024, used * 1024))
    return tuple(found)


def meminfo(host: Host) -> dict[str, int]:
    """/proc/meminfo in bytes; lines that are no sizes are skipped."""
    found: dict[str, int] = {}
    for line in (host.text("/proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        value = natural(words[0]) if words else None
        if value is not None:
            found[name.strip()] = value * (1024 if words[1:] == ["kB"] else 1)
    return found
