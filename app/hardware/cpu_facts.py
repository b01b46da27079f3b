"""The facts of a processor, its memory bus and its device, as the detectors would state them, from a description."""

from __future__ import annotations

from collections.abc import Sequence

from app.hardware.cpus import CpuWords
from app.hardware.memory import MemoryWords, theoretical_gbps
from app.hardware.tables import CpuModel
from detectors.facts import Basis, CacheDomain, CoreKind, CoreType, Cpu, Device, MemoryBus, NumaNode

_VENDOR_IDS = {"AMD": "AuthenticAMD", "Intel": "GenuineIntel"}
_X86_KINDS: tuple[CoreKind, ...] = ("performance", "efficiency", "low-power")
_ARM_KINDS: tuple[CoreKind, ...] = ("big", "little")
HOST_MEMORY = "ram"
"""Id of the pool that is the system's memory."""
_CHANNEL_BITS = 64
_ASSUMED_THREADS = 16
"""Of a socket, where nothing is known of its cores: eight cores with two threads."""
_USUAL_MTS = {"DDR3": 1600, "DDR4": 3200, "DDR5": 5600}
"""JEDEC's highest speed of common modules; for a type that is not the table's, with no speed stated."""


def cpu_facts(said: CpuWords, ram_bytes: int | None) -> tuple[Cpu | None, str]:
    """The processor as facts, and what was taken for granted; `None` where nothing is said of it.

    Args:
        said: what the description says.
        ram_bytes: system memory, to be shared out among the sockets' nodes.
    """
    model, sockets, assumed = said.model, said.sockets, ""
    cores = _cores(said)
    threads = _threads(said, cores) or cores
    if threads is None:
        if model is None and sockets == 1:
            return None, ""
        threads = _ASSUMED_THREADS * sockets
        assumed = f"{threads} CPUs are assumed of {_name(said)}"
    types = _core_types(model, sockets, threads) if model is not None and said.share == 1.0 and not said.virtual else ()
    cpu = Cpu(
        model=_name(said),
        vendor=_VENDOR_IDS.get(model.vendor, model.vendor) if model is not None else "",
        hypervisor="unknown" if said.virtual else None,
        architecture="aarch64" if model is not None and model.isa[:1] == ("asimd",) else "x86_64",
        sockets=sockets,
        physical_cores=cores,
        logical_cpus=threads,
        isa=model.isa if model is not None else (),
        family=model.cpuid[0] if model is not None and model.cpuid else None,
        model_number=model.cpuid[1] if model is not None and model.cpuid else None,
        online_cpus=threads,
        smt=threads > cores if cores is not None else None,
        core_types=types,
        core_types_how="the table of processors" if types else "",
        numa_nodes=_nodes(sockets, threads, ram_bytes),
        nodes_per_socket=1,
        l3_domains=_caches(model, sockets, said.share, threads),
        decode_threads=types[0].cores if types else cores,
        prefill_threads=cores,
    )
    return cpu, assumed


def host_device(cpu: Cpu | None, measured_gbps: float | None) -> Device:
    """The device `cpu`, with a bandwidth if one was measured."""
    return Device(
        id="cpu",
        kind="cpu",
        name=cpu.model if cpu is not None else "CPU",
        vendor=cpu.vendor if cpu is not None else "",
        pool_id=HOST_MEMORY,
        arch=cpu.architecture if cpu is not None else None,
        bandwidth_gbps=measured_gbps,
        bandwidth_basis="measured" if measured_gbps else "estimated",
    )


def memory_bus(
    said: CpuWords, memory: MemoryWords, channels: int | None, stated_gbps: float | None
) -> tuple[MemoryBus | None, str]:
    """The bus of all sockets together, and what was taken for granted (empty: nothing).

    Args:
        said: the processor: its channels and highest speed stand where the memory's words leave them out.
        memory: the memory's words.
        channels: channels as stated elsewhere: of one socket, or of all where they are more than one has.
        stated_gbps: what the bus can do, as stated: it is believed.
    """
    model = said.model
    kind = memory.type or (model.memory if model is not None else None)
    stated_mts, stated_width = memory.mts or said.mts, channels or memory.channels or memory.bits or said.channels
    mts, bits = stated_mts or _usual_mts(model, kind), _bits(said, memory, channels)
    stated = stated_gbps or memory.gbps
    gbps = stated or (theoretical_gbps(bits, mts) if bits and mts else None)
    if kind is None and mts is None and gbps is None:
        return None, ""
    known = bool(stated or stated_mts or _soldered(model))
    basis: Basis = "table" if known else "estimated"
    bus = MemoryBus(
        channels=None if bits is None else max(1, bits // _CHANNEL_BITS),
        channels_how="as described" if stated_width else "all that the processor has",
        bits=bits,
        type=kind,
        rated_mts=mts,
        configured_mts=mts,
        theoretical_gbps=gbps,
        basis=basis,
        source="description",
    )
    if stated or _soldered(model):
        return bus, ""
    open_ends = [] if stated_mts or mts is None else [f"{kind}-{mts}"]
    open_ends += [] if stated_width or bits is None else [f"a bus of {bits} bits"]
    return bus, f"{' and '.join(open_ends)} assumed of the memory" if open_ends else ""


def _usual_mts(model: CpuModel | None, kind: str | None) -> int | None:
    """The speed of memory of which only the type is known: the processor's highest, if it is for that type."""
    if model is None or kind is None:
        return None
    same = model.memory is not None and kind.removesuffix("X") == model.memory.removesuffix("X")
    return (model.mts if same else None) or _USUAL_MTS.get(kind)


def _soldered(model: CpuModel | None) -> bool:
    """Whether all machines with it have the same memory: Apple's, GB10, Strix Halo."""
    return (
        model is not None
        and model.memory is not None
        and model.memory.startswith("LP")
        and (model.vendor == "Apple" or (model.bits or 0) > 2 * _CHANNEL_BITS)
    )


def _bits(said: CpuWords, memory: MemoryWords, channels: int | None) -> int | None:
    """Width of the bus of all sockets."""
    own = said.model.bits if said.model is not None else None
    if memory.bits:
        return memory.bits
    stated = channels or memory.channels or said.channels
    if stated:
        per_socket = own // _CHANNEL_BITS if own else None
        each = said.sockets > 1 and per_socket is not None and stated <= per_socket
        return _CHANNEL_BITS * stated * (said.sockets if each else 1)
    if own is None:
        return None
    whole = round(own * said.sockets * said.share)
    return min(whole, _CHANNEL_BITS * memory.modules) if memory.modules else whole


def _name(said: CpuWords) -> str:
    model = said.model
    if model is None or not model.exact:
        return " ".join(said.text.split()) or "a processor"
    return model.name if model.vendor in model.name or model.vendor == "ARM" else f"{model.vendor} {model.name}"


def _cores(said: CpuWords) -> int | None:
    """Physical cores of all sockets; of virtual CPUs two are taken for the threads of one."""
    model = said.model
    if said.virtual and said.threads is not None:
        return -(-said.threads // 2)
    if model is None or model.cores is None:
        if said.cores is None:
            return None
        return said.cores
    return max(1, round(model.cores * said.sockets * said.share))


def _threads(said: CpuWords, cores: int | None) -> int | None:
    model = said.model
    if model is None or model.threads is None or said.virtual:
        return said.threads
    return max(cores or 1, round(model.threads * said.sockets * said.share))


def _core_types(model: CpuModel, sockets: int, logical: int) -> tuple[CoreType, ...]:
    """Its kinds of cores; none for AMD, whose small cores differ in their clock alone."""
    if not model.slow_cores or model.vendor == "AMD" or model.fast_cores is None or sockets != 1 or not model.exact:
        return ()
    kinds = _ARM_KINDS if model.isa[:1] == ("asimd",) else _X86_KINDS
    counts = (model.fast_cores, *model.slow_cores)
    doubled = logical - sum(counts)
    found: list[CoreType] = []
    start = 0
    for kind, count in zip(kinds, counts, strict=False):
        width = count + (doubled if not found else 0)
        if count:
            found.append(CoreType(kind, count, tuple(range(start, start + width))))
        start += width
    return tuple(found)


def _caches(model: CpuModel | None, sockets: int, share: float, logical: int) -> tuple[CacheDomain, ...]:
    if model is None or model.caches is None or model.vendor not in _VENDOR_IDS:
        return ()
    count = max(1, round(model.caches * sockets * share))
    return tuple(CacheDomain(cpus) for cpus in _shared_out(logical, count))


def _nodes(sockets: int, logical: int, ram_bytes: int | None) -> tuple[NumaNode, ...]:
    share = None if ram_bytes is None else ram_bytes // sockets
    distances = [tuple(10 if one == other else 21 for other in range(sockets)) for one in range(sockets)]
    return tuple(
        NumaNode(node, cpus, share, distances=distances[node])
        for node, cpus in enumerate(_shared_out(logical, sockets))
    )


def _shared_out(logical: int, parts: int) -> Sequence[tuple[int, ...]]:
    """The CPUs 0 to `logical` in that many runs of the same length, the last one perhaps shorter."""
    return [tuple(range(logical * part // parts, logical * (part + 1) // parts)) for part in range(parts)]
