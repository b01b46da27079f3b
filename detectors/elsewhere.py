"""macOS and Windows: what can be known there with little, and a word on what does not work."""

from __future__ import annotations

import os
import re

from detectors.facts import Cpu, Device, KernelFacts, MemoryFacts, MemoryPool, Problem
from detectors.host import Host
from detectors.numbers import natural
from detectors.registry import Found, detector

_SYSCTLS = (
    "machdep.cpu.brand_string", "hw.memsize", "hw.physicalcpu", "hw.logicalcpu", "kern.osrelease",
    "iogpu.wired_limit_mb",
)  # fmt: skip
_MISSING = {
    "Darwin": "on macOS links, memory modules and kernel parameters are not read; a Mac's GPU is used by llama.cpp's "
    "Metal backend and is not described here; planning for recorded machines works",
    "Windows": "on Windows caches, NUMA nodes, links, memory modules and the GPUs of AMD and Intel are not read; the "
    "processor, memory, NVIDIA GPUs and planning for recorded machines work",
}


@detector("elsewhere")
def detect_elsewhere(host: Host) -> Found:
    """The processor and memory of a host that is no Linux; nothing on Linux."""
    system = host.system()
    if system == "Linux":
        return Found()
    missing = Problem("system", _MISSING.get(system, f"{system} is not known to moetune"))
    values = _sysctls(host) if system == "Darwin" else _windows(host)
    architecture = host.machine() or "unknown"
    logical = natural(values.get("hw.logicalcpu")) or os.cpu_count() or 1
    model = values.get("machdep.cpu.brand_string") or architecture
    cpu = Cpu(
        model=model,
        vendor="Apple" if "Apple" in model else "Intel" if "Intel" in model else "AMD" if "AMD" in model else "unknown",
        architecture=architecture,
        sockets=None,
        physical_cores=natural(values.get("hw.physicalcpu")),
        logical_cpus=logical,
    )
    kernel = KernelFacts(values.get("kern.osrelease") or "unknown", None, None, system=system)
    total = natural(values.get("hw.memsize"))
    if not total:
        unknown = Problem("memory", "the size of the memory is not known")
        return Found(cpu=cpu, kernel=kernel, problems=(missing, unknown))
    free = natural(values.get("available"))
    device = Device("cpu", "cpu", model, cpu.vendor, "ram", arch=architecture)
    return Found(
        cpu=cpu,
        pools=(MemoryPool("ram", "System memory", total, free),),
        devices=(device,),
        kernel=kernel,
        memory=MemoryFacts(total, free),
        problems=(missing,),
    )


def _sysctls(host: Host) -> dict[str, str]:
    """Asked one by one: an unknown name makes the whole command fail."""
    answers = {name: host.run(["sysctl", "-n", name]) for name in _SYSCTLS}
    found = {name: answer.strip() for name, answer in answers.items() if answer is not None}
    statistics = host.run(["vm_stat"]) or ""
    size = re.search(r"page size of (\d{1,8}) bytes", statistics)
    pages = re.findall(r"^Pages (?:free|inactive|purgeable|speculative):\s+(\d{1,12})\.", statistics, re.MULTILINE)
    if size and pages:
        found["available"] = str(int(size[1]) * sum(int(count) for count in pages))
    return found


def _windows(host: Host) -> dict[str, str]:
    variables = host.variables()
    found = {"machdep.cpu.brand_string": variables.get("PROCESSOR_IDENTIFIER", "")}
    memory = host.ask("windows_memory")
    if isinstance(memory, list) and len(memory) == 2:
        found["hw.memsize"], found["available"] = str(memory[0]), str(memory[1])
    return found
