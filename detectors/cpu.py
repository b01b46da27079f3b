"""The processor: what it is called, how many cores of it may be used, and what it can compute with."""

from __future__ import annotations

from detectors.amx import describe, probe
from detectors.cgroup import cpuset, quota_cpus
from detectors.cpu_names import arm_names, arm_part, hypervisor_name
from detectors.cpu_power import cpu_power
from detectors.cpu_topology import Cores, core_types, cores_of, l3_domains, numa_nodes, smt
from detectors.cpuid import Cpuid, recorded_tables
from detectors.cpulist import parse_cpulist
from detectors.facts import Cpu, Device, NumaNode, Problem
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
    if host.system() != "Linux":
        return Found()  # `elsewhere` answers there
    text = host.text("/proc/cpuinfo")
    blocks = _blocks(text or "")
    if not blocks:
        if tables := recorded_tables(host):
            return _by_cpuid(tables)
        why = host.why("/proc/cpuinfo") or "it names no processor"
        return Found(problems=(Problem("cpu", f"/proc/cpuinfo cannot be used: {why}"),))
    architecture = host.machine() or host.text("/proc/sys/kernel/arch") or _architecture(blocks)
    online, usable = _usable(host, blocks)
    flags = _flags(blocks)
    model, vendor = _names(blocks)
    cores = cores_of(host, usable)
    physical, problems = _physical_cores(cores, blocks, usable)
    types, how = core_types(host, cores, _arm_parts(blocks)) if cores else ((), "")
    sockets = _sockets(host, blocks)
    nodes = numa_nodes(host)
    table, answers = probe(host, model, flags)
    hidden = tuple(name for name in table.features() if name in _ISA_X86 and name not in flags) if table else ()
    quota = quota_cpus(host)
    cpu = Cpu(
        model=model,
        vendor=vendor,
        architecture=architecture,
        sockets=sockets,
        physical_cores=physical,
        logical_cpus=len(usable),
        isa=tuple(name for name in (*_ISA_X86, *_ISA_ARM) if name in flags),
        hypervisor=hypervisor_name(host, "hypervisor" in flags),
        family=natural(blocks[0].get("cpu family")),
        model_number=natural(blocks[0].get("model")),
        stepping=natural(blocks[0].get("stepping")),
        online_cpus=len(online),
        smt=smt(host, cores),
        core_types=types,
        core_types_how=how,
        numa_nodes=nodes,
        nodes_per_socket=_nodes_per_socket(nodes, sockets),
        l3_domains=l3_domains(host, usable),
        isa_hidden=hidden,
        amx=describe(table, answers, flags),
        power=cpu_power(host, min(usable, default=0)),
        quota_cpus=quota,
        decode_threads=_threads(types[0].cores if types else physical, quota),
        prefill_threads=_threads(physical, quota),
    )
    device = Device(id="cpu", kind="cpu", name=model, vendor=vendor, pool_id="ram", arch=architecture)
    return Found(cpu=cpu, devices=(device,), problems=problems)


def _by_cpuid(tables: dict[int, Cpuid]) -> Found:
    """A processor that was recorded by CPUID alone: the names and features of its first CPU, and where each is."""
    first = next(iter(tables.values()))
    places = [place for table in tables.values() if (place := table.place())]
    whole = len(places) == len(tables)
    family, model, stepping = first.version() or (None, None, None)
    cpu = Cpu(
        model=first.brand or "unknown",
        vendor=first.vendor or "unknown",
        architecture="x86_64",
        sockets=len({package for package, _, _ in places}) if whole else None,
        physical_cores=len({core for _, core, _ in places}) if whole else None,
        logical_cpus=len(tables),
        isa=tuple(name for name in _ISA_X86 if first.has(name)),
        hypervisor="unknown" if first.has("hypervisor") else None,
        family=family,
        model_number=model,
        stepping=stepping,
        smt=len({core for _, core, _ in places}) < len(places) if whole else None,
        amx=describe(first, {}, frozenset()),
    )
    return Found(cpu=cpu, devices=(Device("cpu", "cpu", cpu.model, cpu.vendor, "ram", arch="x86_64"),))


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


def _usable(host: Host, blocks: list[Block]) -> tuple[frozenset[int], frozenset[int]]:
    """The CPUs that are online, and those of them that this process may use."""
    listed = frozenset(int(block["processor"]) for block in blocks)
    online = parse_cpulist(host.text(f"{_CPU}/online")) or listed
    allowed = host.affinity() or cpuset(host)
    return online, (online & allowed or allowed) if allowed is not None else online


def _physical_cores(
    cores: Cores | None, blocks: list[Block], usable: frozenset[int]
) -> tuple[int | None, tuple[Problem, ...]]:
    """Distinct cores among the usable CPUs, by sysfs or else by the ids in /proc/cpuinfo."""
    if cores is not None:
        return len(set(cores.values())), ()
    by_cpu = {int(block["processor"]): (block.get("physical id"), block.get("core id")) for block in blocks}
    ids = {by_cpu.get(cpu, (None, None)) for cpu in usable}
    if any(None in pair for pair in ids):
        return None, (Problem("cpu", "which CPUs share a core is not known: the kernel gives no topology"),)
    return len(ids), ()


def _arm_parts(blocks: list[Block]) -> dict[int, str]:
    """Arm: the design of each CPU's core."""
    return {
        int(block["processor"]): arm_part(block["CPU implementer"], block.get("CPU part", ""))
        for block in blocks
        if "CPU implementer" in block
    }


def _nodes_per_socket(nodes: tuple[NumaNode, ...], sockets: int | None) -> int | None:
    with_cpus = sum(1 for node in nodes if node.cpus)
    return with_cpus // sockets if with_cpus and sockets and with_cpus % sockets == 0 else None


def _threads(cores: int | None, quota: float | None) -> int | None:
    """As many as there are cores, but no more than the quota lets run at once."""
    if cores is None:
        return None
    return cores if quota is None else max(1, min(cores, int(quota)))


def _sockets(host: Host, blocks: list[Block]) -> int | None:
    packages = {host.integer(f"{_CPU}/cpu{block['processor']}/topology/physical_package_id") for block in blocks} - {
        None,
        -1,
    }
    if packages:
        return len(packages)
    return len({block["physical id"] for block in blocks if "physical id" in block}) or None
