"""The system's memory, as far as this process may have it: /proc/meminfo, held down by the cgroup's limit."""

from __future__ import annotations

from dataclasses import dataclass

from detectors.facts import MemoryPool, Problem
from detectors.host import Host
from detectors.numbers import natural
from detectors.registry import Found, detector

_CGROUP = "/sys/fs/cgroup"
_NO_LIMIT = 1 << 60  # cgroup v1 says "no limit" as the largest multiple of a page (about 2^63)


@dataclass(frozen=True, slots=True)
class _Limit:
    limit_bytes: int
    available_bytes: int | None


@detector("memory")
def detect_memory(host: Host) -> Found:
    """The pool `ram`."""
    info = meminfo(host)
    physical = info.get("MemTotal")
    if not physical:
        why = host.why("/proc/meminfo") or "it has no MemTotal"
        return Found(problems=(Problem("memory", f"the size of the memory is not known: /proc/meminfo: {why}"),))
    available = info.get("MemAvailable")
    limits = _limits(host)
    total = min([physical, *(limit.limit_bytes for limit in limits)])
    if available is not None:
        rooms = [limit.available_bytes for limit in limits if limit.available_bytes is not None]
        available = min([available, total, *rooms])
    problems = () if available is not None else (Problem("memory", "how much memory is free is not known"),)
    pool = MemoryPool("ram", "System memory", total, available, physical if total < physical else None)
    return Found(pools=(pool,), problems=problems)


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


def _limits(host: Host) -> list[_Limit]:
    """The limits of this process's cgroup and of every one above it, of both versions."""
    limits: list[_Limit] = []
    for line in (host.text("/proc/self/cgroup") or "0::/").splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if hierarchy == "0" and not controllers:
            folders = [f"{_CGROUP}{part}" for part in _with_ancestors(path)]
            limits += [limit for folder in folders if (limit := _limit_v2(host, folder))]
        elif "memory" in controllers.split(","):
            folders = [f"{_CGROUP}/memory{part}" for part in _with_ancestors(path)]
            limits += [limit for folder in folders if (limit := _limit_v1(host, folder))]
    return limits


def _with_ancestors(path: str) -> list[str]:
    """`/a/b` gives `/a/b`, `/a` and the empty string (the root). In a namespace the path may begin with `/..`."""
    parts = [part for part in path.split("/") if part and part != ".."]
    return ["".join(f"/{part}" for part in parts[:end]) for end in range(len(parts), -1, -1)]


def _limit_v2(host: Host, folder: str) -> _Limit | None:
    # memory.high does not fail an allocation, but it slows the process down until it is under it again.
    values = [host.text(f"{folder}/{name}") for name in ("memory.max", "memory.high")]
    limits = [value for value in map(natural, values) if value is not None]
    if not limits:
        return None
    return _limit(min(limits), host.natural(f"{folder}/memory.current"), _stat(host, folder, "inactive_file"))


def _limit_v1(host: Host, folder: str) -> _Limit | None:
    limit = host.natural(f"{folder}/memory.limit_in_bytes")
    if limit is None or not 0 < limit < _NO_LIMIT:
        return None
    return _limit(limit, host.natural(f"{folder}/memory.usage_in_bytes"), _stat(host, folder, "total_inactive_file"))


def _limit(limit_bytes: int, used_bytes: int | None, reclaimable_bytes: int) -> _Limit:
    """The page cache that was not used of late is given up before anything fails, so it counts as free."""
    if used_bytes is None:
        return _Limit(limit_bytes, None)
    return _Limit(limit_bytes, max(0, limit_bytes - used_bytes + min(reclaimable_bytes, used_bytes)))


def _stat(host: Host, folder: str, key: str) -> int:
    for line in (host.text(f"{folder}/memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return natural(value) or 0
    return 0
