"""Memory that the machine has but this process may not use, or not as it should."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case
from app.readiness.finding import Finding, Fix, fix_of
from app.readiness.steps import by_hand, write
from app.readiness.sysctl import sysctl_fix
from app.units import bytes_text
from detectors.facts import UNLIMITED, MemoryFacts

_CONTAINER = (
    "docker or podman: start the container without --memory, or with more (docker update --memory SIZE NAME)\n"
    "Kubernetes: raise resources.limits.memory"
)
_SESSION = "sudo systemctl set-property user-$(id -u).slice MemoryMax=infinity MemoryHigh=infinity"
_WSL = "in %UserProfile%\\.wslconfig, under [wsl2], set memory=; then: wsl --shutdown"
_SWAP_IN_USE = 0.10
_RESERVED_SHARE = 0.02


def check_cgroup(case: Case) -> Iterator[Finding]:
    """A cgroup's limit below the memory there is."""
    ram = next((pool for pool in case.machine.pools if pool.id == "ram"), None)
    if ram is None:
        reason = "Nothing can be planned without it."
        yield Finding(
            "mem.total", "unknown", "How much memory there is is not known", case.why_unknown("memory"), reason
        )
        return
    if ram.physical_bytes is None:
        return
    host = case.host_bytes
    if case.plan is not None and not host:
        return
    if case.plan is not None and host <= (ram.available_bytes or ram.total_bytes):
        title = f"The plan's {bytes_text(host)} are within the limit of {bytes_text(ram.total_bytes)}"
        yield Finding("mem.cgroup", "good", title, "the cgroup's limit", "It is not killed for want of memory.")
        return
    container = case.container
    file = case.machine.memory.limit_file if case.machine.memory else None
    text = _WSL if case.wsl else _CONTAINER if container else _SESSION
    yield Finding(
        "mem.cgroup",
        "blocks" if case.plan is not None and host > ram.total_bytes else "costs",
        f"A limit leaves {bytes_text(ram.total_bytes)} of {bytes_text(ram.physical_bytes)} memory",
        f"{file or 'the cgroup of this process'} allows {ram.total_bytes} of {ram.physical_bytes} bytes",
        "An engine that needs more is killed while it loads, without a word of its own.",
        Fix(
            text=text,
            undo="set the limit back to its former value",
            verify="cat /sys/fs/cgroup/memory.max" if container else "systemctl show -p MemoryMax user-$(id -u).slice",
            reboot=False,
        ),
        1 - ram.total_bytes / ram.physical_bytes if ram.physical_bytes else 0.0,
    )


def check_locking(case: Case) -> Iterator[Finding]:
    """How much may be locked: only where the plan locks its weights."""
    facts, plan = case.machine.memory, case.plan
    if plan is None or "mlock" not in plan.parameters.load_mode:
        return
    need, limit = case.host_bytes, facts.memlock_bytes if facts else None
    reason = "Weights that cannot be locked are loaded all the same, and may be paged out under pressure."
    if limit is None:
        title = "How much memory may be locked is not known"
        yield Finding("mem.memlock", "unknown", title, case.why_unknown("memory", "limits"), reason)
    elif limit >= need:
        evidence = f"RLIMIT_MEMLOCK is {_limit_text(limit)}"
        yield Finding("mem.memlock", "good", "The plan's weights may be locked", evidence, reason)
    else:
        title = f"{bytes_text(limit)} may be locked; the plan locks {bytes_text(need)}"
        evidence = f"RLIMIT_MEMLOCK is {limit} bytes"
        yield Finding("mem.memlock", "costs", title, evidence, reason, _memlock_fix(case), 0.05)


def _memlock_fix(case: Case) -> Fix:
    verify = "ulimit -l   # in a new session"
    if case.container:
        return Fix("start the container with --ulimit memlock=-1", "leave it out", verify, reboot=False)
    step = write("/etc/security/limits.d/90-llm.conf", "* - memlock unlimited")
    note = by_hand("# log out and in again after it; a systemd service needs LimitMEMLOCK=infinity", "")
    return fix_of((note, step), verify, reboot=False)


def check_hugepages(case: Case) -> Iterator[Finding]:
    """Static huge pages: withheld from everything else, and mistaken for all memory on unified CUDA devices."""
    facts = case.machine.memory
    if facts is None or facts.hugepages_total is None:
        return
    size = facts.hugepages_total * (facts.hugepage_bytes or 0)
    unified = next((gpu for gpu in case.gpus if gpu.kind == "igpu" and gpu.vendor == "NVIDIA"), None)
    evidence = f"HugePages_Total is {facts.hugepages_total}, {bytes_text(size)}"
    fix = sysctl_fix("vm.nr_hugepages", 0, facts.hugepages_total)
    if facts.hugepages_total and unified is not None:
        reason = "On a GPU that shares the system's memory, llama.cpp takes the free huge pages for all there is."
        title = f"llama.cpp will see only huge pages on {unified.name}"
        yield Finding("mem.hugepages.uma", "costs", title, evidence, reason, fix, 0.8)
    elif size > _RESERVED_SHARE * facts.total_bytes:
        title = f"{bytes_text(size)} are set aside as huge pages"
        reason = "Engines do not use them, and nothing else may."
        yield Finding("mem.hugepages", "costs", title, evidence, reason, fix, size / max(size, facts.total_bytes, 1))
    elif unified is not None:
        reason = "llama.cpp sees the whole memory of the unified GPU."
        yield Finding("mem.hugepages.uma", "good", "No huge pages are set aside", evidence, reason)


def check_paging(case: Case) -> Iterator[Finding]:
    """Swap, overcommit, transparent huge pages, address space."""
    facts = case.machine.memory
    if facts is None or not case.uses_ram:
        return
    yield from _swap(facts)
    if facts.overcommit == 2:
        fix = sysctl_fix("vm.overcommit_memory", 0, 2)
        reason = "Large mappings are refused though the memory is there; a GPU driver's address space counts in full."
        evidence = "vm.overcommit_memory is 2"
        yield Finding("mem.overcommit", "costs", "The kernel refuses to overcommit memory", evidence, reason, fix, 0.1)
    limit = facts.address_space_bytes
    if limit is not None and limit < UNLIMITED and limit < 4 * facts.total_bytes:
        fix = Fix(
            "ulimit -v unlimited   # in the shell that starts the engine", "ulimit -v N", "ulimit -v", reboot=False
        )
        title = f"This process may map {bytes_text(limit)} of address space"
        reason = "GPU drivers reserve many times their memory in address space, and a mapped model counts in full."
        yield Finding("mem.address", "costs", title, "RLIMIT_AS (ulimit -v)", reason, fix, 0.5)
    if facts.transparent_hugepages == "never":
        path = "/sys/kernel/mm/transparent_hugepage/enabled"
        fix = Fix(f"echo madvise | sudo tee {path}", f"echo never | sudo tee {path}", f"cat {path}", reboot=False)
        reason = "With madvise, a program that asks gets large pages, and fewer misses while it reads weights."
        title = "Transparent huge pages are off"
        yield Finding("mem.thp", "note", title, f"{path} is never", reason, fix)


def _swap(facts: MemoryFacts) -> Iterator[Finding]:
    total, free = facts.swap_total_bytes, facts.swap_free_bytes
    if total is None:
        return
    if total == 0:
        reason = "A program that asks for too much is killed at once; nothing pages. Good for speed, if it fits."
        yield Finding("mem.swap", "note", "There is no swap", "SwapTotal is 0", reason)
        return
    used = total - free if free is not None else 0
    if used > _SWAP_IN_USE * total:
        text = "free memory, then: sudo swapoff -a && sudo swapon -a   # reads all of it back"
        fix = Fix(text, "nothing to undo", "free -h", reboot=False)
        evidence = f"SwapTotal {bytes_text(total)}, SwapFree {bytes_text(free)}"
        reason = (
            "Memory was short before. Weights that are paged out come back at the speed of the disk, once per token."
        )
        yield Finding("mem.swap", "costs", f"{bytes_text(used)} are paged out", evidence, reason, fix, 0.1)
    elif any(area.kind == "zram" for area in facts.swap) or facts.zswap:
        evidence = f"zram or zswap, {bytes_text(total)}"
        reason = "Quantized weights do not compress: paging them costs time and saves nothing."
        yield Finding("mem.swap", "note", "Swap is compressed memory", evidence, reason)


def _limit_text(limit: int) -> str:
    return "unlimited" if limit >= UNLIMITED else bytes_text(limit)
