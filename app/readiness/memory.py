"""Memory that the machine has but this process may not use."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.finding import Finding, Fix
from app.units import bytes_text
from detectors.facts import Machine

_CONTAINER = (
    "docker or podman: start the container without --memory, or with more (docker update --memory SIZE NAME)\n"
    "Kubernetes: raise resources.limits.memory"
)
_SESSION = "sudo systemctl set-property user-$(id -u).slice MemoryMax=infinity MemoryHigh=infinity"
_WSL = "in %UserProfile%\\.wslconfig, under [wsl2], set memory=; then: wsl --shutdown"


def check_cgroup(machine: Machine) -> Iterator[Finding]:
    """A cgroup's limit below the memory there is."""
    ram = next((pool for pool in machine.pools if pool.id == "ram"), None)
    if ram is None or ram.physical_bytes is None:
        return
    container = machine.kernel.container if machine.kernel else None
    text = _WSL if container == "wsl" else _CONTAINER if container else _SESSION
    yield Finding(
        "mem.cgroup",
        "costs",
        f"A limit leaves {bytes_text(ram.total_bytes)} of {bytes_text(ram.physical_bytes)} memory",
        f"the cgroup of this process allows {ram.total_bytes} bytes; /proc/meminfo has {ram.physical_bytes}",
        "An engine that needs more is killed while it loads, without a word of its own.",
        Fix(
            text=text,
            undo="set the limit back to its former value",
            verify="cat /sys/fs/cgroup/memory.max" if container else "systemctl show -p MemoryMax user-$(id -u).slice",
            reboot=False,
        ),
    )
