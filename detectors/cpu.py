"""The processor: what it is called, how many cores of it may be used, and what it can compute with."""

from __future__ import annotations

from detectors.cpu_names import arm_names, hypervisor_name
from detectors.cpulist import parse_cpulist
from detectors.facts import Cpu, Device, Problem
from detectors.host import Host
from detectors.numbers import natural
from detectors.registry import Found, detector

_CPU = "/sys/devices/system/cpu"

# What inference kernels choose their code by, in the order in which it is shown. The kernel lists only these
# three of AMX: amx_fp16 and amx_complex never appear in /proc/cpuinfo.
_ISA_X86 = (
    "avx", "avx2", "f16c", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vbmi", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16",
)  # fmt: skip
_ISA_ARM = ("asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme")

Block = dict[str, str]
"""One processor's lines of /proc/cpuinfo."""


@detector("cpu")
def detect_cpu(host: Host) -> Found:
    """The CPU and its device. Cores that are offline or that this process may not use are not counted."""
    text = host.text("/proc/cpuinfo")
    blocks = _blocks(text or "")
    if not blocks:
        why = host.why("/proc/cpuinfo") or "it names no processor"
        return Found(problems=(Problem("cpu", f"/proc/cpuinfo cannot be used: {why}"),))
    architecture = host.machine() or host.text("/proc/sys/kernel/arch") or _architecture(blocks)
    usable = _usable(host, blocks)
    flags = _flags(blocks)
    model, vendor = _names(blocks)
    cores, problems = _physical_cores(host, blocks, usable)
    cpu = Cpu(
        model=model,
        vendor=vendor,
        architecture=architecture,
        sockets=_sockets(host, blocks),
        physical_cores=cores,
        logical_cpus=len(usable),
        isa=tuple(name for name in (*_ISA_X86, *_ISA_ARM) if name in flags),
        hypervisor=hypervisor_name(host, "hypervisor" in flags),
    )
    device = Device(id="cpu", kind="cpu", name=model, vendor=vendor, pool_id="ram", arch=architecture)
    return Found(cpu=cpu, devices=(device,), problems=problems)


def _blocks(text: str) -> list[Block]:
    """The processors of /proc/cpuinfo; trailing blocks that describe the board are dropped."""
    blocks: list[Block] = []
    for chunk in text.split("\n\n"):
        pairs = (line.partition(":") for line in chunk.splitlines())
        block = {key.strip(): value.strip() for key, colon, value in pairs if colon}
        if natural(block.get("processor")) is not None:
            blocks.append(block)
    return blocks


def _architecture(blocks: list[Block]) -> str:
    first = blocks[0]
    if "flags" in first:
        return "x86_64" if " lm " in f" {first['flags']} " else "i686"
    if "CPU implementer" in first:
        return "aarch64"
    return "ppc64le" if "POWER" in first.get("cpu", "") else "unknown"


def _names(blocks: list[Block]) -> tuple[str, str]:
    first = blocks[0]
    if "model name" in first and "CPU implementer" not in first:
        return " ".join(first["model name"].split()) or "unknown", first.get("vendor_id") or "unknown"
    if "CPU implementer" in first:
        return arm_names([(block.get("CPU implementer", ""), block.get("CPU part", "")) for block in blocks])
    return first.get("cpu") or "unknown", first.get("vendor_id") or "unknown"


def _flags(blocks: list[Block]) -> frozenset[str]:
    """What every processor can do: on unlike cores, code must run on all of them."""
    sets = [frozenset((block.get("flags") or block.get("Features") or "").split()) for block in blocks]
    known = [found for found in sets if found]
    return frozenset.intersection(*known) if known else frozenset()


def _usable(host: Host, blocks: list[Block]) -> frozenset[int]:
    listed = frozenset(int(block["processor"]) for block in blocks)
    online = parse_cpulist(host.text(f"{_CPU}/online")) or listed
    allowed = host.affinity()
    return (online & allowed or allowed) if allowed is not None else online


def _physical_cores(host: Host, blocks: list[Block], usable: frozenset[int]) -> tuple[int | None, tuple[Problem, ...]]:
    """Distinct cores among the usable CPUs, by sysfs or else by the ids in /proc/cpuinfo."""
    cores: set[object] = set()
    for cpu in sorted(usable):
        folder = f"{_CPU}/cpu{cpu}/topology"
        siblings = parse_cpulist(host.text(f"{folder}/core_cpus_list") or host.text(f"{folder}/thread_siblings_list"))
        if not siblings:
            break
        cores.add(siblings)
    else:
        return len(cores), ()
    by_cpu = {int(block["processor"]): (block.get("physical id"), block.get("core id")) for block in blocks}
    ids = {by_cpu.get(cpu, (None, None)) for cpu in usable}
    if any(None in pair for pair in ids):
        return None, (Problem("cpu", "which CPUs share a core is not known: the kernel gives no topology"),)
    return len(ids), ()


def _sockets(host: Host, blocks: list[Block]) -> int | None:
    packages = {host.integer(f"{_CPU}/cpu{block['processor']}/topology/physical_package_id") for block in blocks} - {
        None,
        -1,
    }
    if packages:
        return len(packages)
    return len({block["physical id"] for block in blocks if "physical id" in block}) or None
