"""What is asked of the operating system because no file says it. Answers are JSON values, so they can be recorded."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectors.host import Host

_GPU_GROUPS = ("render", "video")
_LIMITS = {"memlock": "RLIMIT_MEMLOCK", "as": "RLIMIT_AS"}
_SYSTEMS = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}


def ask(host: Host, question: str, *words: str) -> object:
    """Put a question to this machine; `None` for what it cannot answer."""
    try:
        return _QUESTIONS[question](host, *words)
    except (OSError, ValueError, AttributeError, ImportError, KeyError):
        return None  # Windows has no rlimits, macOS no affinity, a container no group names


def _system(host: Host) -> str:
    return _SYSTEMS.get(sys.platform, sys.platform)


def _machine(host: Host) -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    import platform

    return {"AMD64": "x86_64", "ARM64": "aarch64"}.get(platform.machine(), platform.machine())


def _page_bytes(host: Host) -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _affinity(host: Host) -> list[int]:
    return sorted(os.sched_getaffinity(0))


def _rlimits(host: Host) -> dict[str, list[int]]:
    """Soft and hard limits in bytes; -1 is no limit."""
    import resource

    found = {}
    for name, constant in _LIMITS.items():
        limits = resource.getrlimit(getattr(resource, constant))
        found[name] = [-1 if limit == resource.RLIM_INFINITY else limit for limit in limits]
    return found


def _groups(host: Host) -> list[str]:
    """Those of this user's groups that open GPUs; groups of other purposes are nobody's business."""
    import grp

    return [name for name in _GPU_GROUPS if grp.getgrnam(name).gr_gid in (*os.getgroups(), os.getegid())]


def _access(host: Host, path: str) -> list[object] | None:
    """Whether this process may read and write the file, and the group that may."""
    import grp

    group = os.stat(path).st_gid
    try:
        name = grp.getgrgid(group).gr_name
    except KeyError:
        name = str(group)
    return [os.access(path, os.R_OK | os.W_OK), name]


def _cpu_probe(host: Host) -> str | None:
    """CPUID and the AMX permission, asked by a child: a permission stays with a process, and machine code may fault."""
    script = os.path.join(os.path.dirname(__file__), "cpu_probe.py")
    return host.run([sys.executable, "-I", "-S", script], timeout_s=2.0)


def _nvml(host: Host, *bus_ids: str) -> object:
    """NVIDIA's library; its answers are a value of their own, see `detectors.nvml`."""
    from detectors.nvml import ask_nvml

    library = host.nvml()
    if library is None:
        return {"unavailable": host.why("nvml")}
    return ask_nvml(library, bus_ids or None)


def _windows_memory(host: Host) -> list[int] | None:
    """Total and available bytes of physical memory by GlobalMemoryStatusEx (Windows only)."""
    import ctypes

    # MEMORYSTATUSEX: two DWORDs (the size of the structure, the load), then seven 64-bit figures.
    status = (ctypes.c_uint64 * 8)()
    ctypes.memmove(status, (ctypes.c_uint32 * 1)(64), 4)
    library = getattr(ctypes, "windll", None)
    if library is None or not library.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return [int(status[1]), int(status[2])]


_QUESTIONS: dict[str, Callable[..., object]] = {
    "system": _system,
    "machine": _machine,
    "page_bytes": _page_bytes,
    "affinity": _affinity,
    "rlimits": _rlimits,
    "groups": _groups,
    "access": _access,
    "cpu_probe": _cpu_probe,
    "nvml": _nvml,
    "windows_memory": _windows_memory,
}
