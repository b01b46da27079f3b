"""The control groups of this process: where their files are, and what they hold CPUs and memory to."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.cpulist import parse_cpulist
from detectors.host import Host
from detectors.numbers import natural

_MOUNT = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 60  # version 1 says "no limit" as the largest multiple of a page (about 2^63)


@dataclass(frozen=True, slots=True)
class Group:
    """One control group that applies, this process's own or one above it."""

    folder: str
    version: int
    own: bool
    """Whether this process is in it itself, rather than in one below."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """What a group may have, and how much of it is free."""

    limit_bytes: int
    available_bytes: int | None
    file: str


def groups(host: Host, controller: str) -> list[Group]:
    """The groups of a controller (`memory`, `cpu`, `cpuset`) in both versions, innermost first."""
    mounts = _mounts(host)
    found: list[Group] = []
    lines = (host.text("/proc/self/cgroup") or _by_cpuset(host)).splitlines()
    for line in lines:
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            mount, version = mounts.get("", _MOUNT), 2
        elif controller in controllers.split(","):
            mount, version = mounts.get(controller, f"{_MOUNT}/{controller}"), 1
        else:
            continue
        for position, part in enumerate(_with_ancestors(path)):
            found.append(Group(f"{mount}{part}", version, position == 0))
    return found


def memory_limits(host: Host) -> list[MemoryLimit]:
    """The limits of this process's group and of every one above it."""
    return [limit for group in groups(host, "memory") if (limit := _memory_limit(host, group))]


def quota_cpus(host: Host) -> float | None:
    """The tightest quota of CPU time, as a number of CPUs."""
    quotas: list[float] = []
    for group in groups(host, "cpu"):
        if group.version == 2:
            quota, _, period = (host.text(f"{group.folder}/cpu.max") or "").partition(" ")
        else:
            quota = host.text(f"{group.folder}/cpu.cfs_quota_us") or ""
            period = host.text(f"{group.folder}/cpu.cfs_period_us") or ""
        share, whole = natural(quota), natural(period)
        if share and whole:
            quotas.append(share / whole)
    return min(quotas, default=None)


def cpuset(host: Host) -> frozenset[int] | None:
    """The CPUs of this process's own cpuset; for a live host, its affinity is the better answer."""
    for group in groups(host, "cpuset"):
        for name in ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus"):
            if cpus := parse_cpulist(host.text(f"{group.folder}/{name}")):
                return cpus
    return None


def _by_cpuset(host: Host) -> str:
    """A host without /proc/self/cgroup is in the root group, or where /proc/self/cpuset says."""
    return f"0::{host.text('/proc/self/cpuset') or '/'}"


def _mounts(host: Host) -> dict[str, str]:
    """Where each controller of version 1 is mounted, and under the empty name, version 2."""
    found: dict[str, str] = {}
    for line in (host.text("/proc/mounts") or "").splitlines():
        words = line.split()
        if len(words) < 4:
            continue
        if words[2] == "cgroup2":
            found.setdefault("", words[1])
        elif words[2] == "cgroup":
            for option in words[3].split(","):
                found.setdefault(option, words[1])
    return found


def _with_ancestors(path: str) -> list[str]:
    """`/a/b` gives `/a/b`, `/a` and the empty string (the root). In a namespace the path may begin with `/..`."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["".join(f"/{part}" for part in parts[:end]) for end in range(len(parts), -1, -1)]


def _memory_limit(host: Host, group: Group) -> MemoryLimit | None:
    # memory.high does not fail an allocation, but it slows the process down until it is under it again.
    names = ("memory.max", "memory.high") if group.version == 2 else ("memory.limit_in_bytes",)
    current, idle = (
        ("memory.current", "inactive_file") if group.version == 2 else ("memory.usage_in_bytes", "total_inactive_file")
    )
    values = {f"{group.folder}/{name}": natural(host.text(f"{group.folder}/{name}")) for name in names}
    limits = {file: value for file, value in values.items() if value is not None and 0 < value < _NO_LIMIT}
    if not limits:
        return None
    file = min(limits, key=lambda name: limits[name])
    used = host.natural(f"{group.folder}/{current}")
    if used is None:
        return MemoryLimit(limits[file], None, file)
    # The page cache that was not used of late is given up before anything fails, so it counts as free.
    reclaimable = min(_stat(host, group.folder, idle), used)
    return MemoryLimit(limits[file], max(0, limits[file] - used + reclaimable), file)


def _stat(host: Host, folder: str, key: str) -> int:
    for line in (host.text(f"{folder}/memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return natural(value) or 0
    return 0
