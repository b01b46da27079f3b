"""A machine of words: the facts that detectors would find on the machine that someone describes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.hardware import gpu_facts as facts
from app.hardware.cpu_facts import HOST_MEMORY, cpu_facts, host_device, memory_bus
from app.hardware.cpus import CpuWords, read_cpu
from app.hardware.gpus import GpuWords, NamedGpu, read_gpus
from app.hardware.memory import MemoryWords, read_memory
from app.hardware.pcie import PcieWords, read_pcie
from app.hardware.relinked import relinked
from app.hardware.tables import CpuModel, cpu_models
from detectors.facts import Device, Machine, MemoryFacts, MemoryPool

_ASSUMED_RAM_GIB = 64.0


@dataclass(frozen=True, slots=True)
class Described:
    """The machine, and how much of the words it rests on."""

    machine: Machine
    unknown: tuple[str, ...] = ()
    """A sentence for each part that was not understood, with the names that come nearest."""
    assumed: tuple[str, ...] = ()
    """A sentence for each thing that the words leave open and that was taken for granted."""


def described_machine(
    *,
    cpu: str | None = None,
    memory: str | None = None,
    channels: int | None = None,
    memory_gbps: float | None = None,
    memory_gbps_measured: bool = False,
    ram_gib: float | None = None,
    gpus: str | None = None,
    vram_gib: float | None = None,
    pcie: str | None = None,
    gtt_gib: float | None = None,
    name: str = "described",
) -> Described:
    """Make a machine of a description. It always answers; what it could not use is in `unknown`.

    Args:
        cpu: `2x AMD EPYC 9355 (64c)`.
        memory: `DDR5-6400 RDIMM`, `DDR5-5600 single channel`.
        channels: memory channels: of one socket, or of all where they are more than one socket has.
        memory_gbps: what the processor reads (or the bus could move) per second, all sockets together.
        memory_gbps_measured: whether that is a measurement of reading. It becomes the bandwidth of the device `cpu`;
            a figure that was not measured only says what the bus could do.
        ram_gib: system memory; 64 GiB are assumed, or what a machine with one GPU and one memory always has.
        gpus: `2x RTX 3090 24GB + 8060S iGPU`; empty or `none`: there are none.
        vram_gib: of each GPU, where the words of `gpus` do not say.
        pcie: the slots of the discrete GPUs: `PCIe 4.0 x4; peer copy ~6.4 GB/s`.
        gtt_gib: AMD APUs: how much memory the driver lets the GPU map.
        name: of the machine.
    """
    said = read_cpu(cpu or "")
    listed = read_gpus(gpus or "", vram_gib=vram_gib, own=said.model.gpu if said.model is not None else None)
    if said.model is None:
        said = _by_its_gpu(said, listed)
    words = read_memory(memory)
    unknown = _unknown(cpu, said, listed, memory, words, pcie)
    assumed = [found.assumed for found in listed.found if found.assumed]
    ram_gib, sentence = _ram(ram_gib, listed)
    assumed.append(sentence)
    ram_bytes = round(ram_gib * facts.GIB)
    stated = memory_gbps if not memory_gbps_measured else None
    bus, sentence = memory_bus(said, words, channels, stated)
    assumed.append(sentence)
    processor, sentence = cpu_facts(said, ram_bytes)
    assumed.append(sentence)
    host = host_device(processor, memory_gbps if memory_gbps_measured else None)
    shared = bus.theoretical_gbps if bus is not None and (words.mts or said.mts or stated) and bus.bits else None
    gtt = None if gtt_gib is None else round(gtt_gib * facts.GIB)
    build = _Build(ram_bytes, gtt, shared, pcie, said.model.pcie if said.model is not None else None)
    build.add(listed.found, said.machines)
    pools = (MemoryPool(HOST_MEMORY, "System memory", ram_bytes, None), *build.pools)
    devices = (host, *build.devices)
    machine = Machine(
        host_name=name,
        cpu=processor,
        pools=pools,
        devices=devices,
        memory=MemoryFacts(total_bytes=ram_bytes, bus=bus),
    )
    peer_to_peer = next((slot.peer_to_peer for slot in build.slots.values() if slot.peer_to_peer is not None), None)
    machine = relinked(machine, build.slots, peer_to_peer=peer_to_peer)
    assumed += build.assumed
    return Described(machine, unknown, tuple(dict.fromkeys(sentence for sentence in assumed if sentence)))


class _Build:
    """Collects devices and pools of a list of GPUs."""

    def __init__(
        self, ram_bytes: int, gtt_bytes: int | None, bus_gbps: float | None, pcie: str | None, generation: int | None
    ) -> None:
        self.devices: list[Device] = []
        self.pools: list[MemoryPool] = []
        self.slots: dict[str, PcieWords] = {}
        self.assumed: list[str] = []
        self._ram_bytes, self._gtt_bytes, self._bus_gbps = ram_bytes, gtt_bytes, bus_gbps
        self._pcie, self._generation = pcie, generation

    def add(self, found: tuple[NamedGpu, ...], machines: int) -> None:
        """All entries; a second GPU inside the processor is that of another machine."""
        for named in found:
            if named.model.kind == "igpu":
                self._add_integrated(named, max(named.count, machines))
                continue
            for _ in range(named.count):
                self._add_discrete(named)

    def _add_discrete(self, named: NamedGpu) -> None:
        place = sum(1 for device in self.devices if device.kind == "dgpu")
        device, pool = facts.discrete(named, place)
        slot = facts.slot_of(device, self._pcie)
        if not slot.understood:
            stated = slot
            slot = facts.assumed_slot(named.model, self._generation)
            slot = replace(slot, peer_to_peer=stated.peer_to_peer, peer_gbps=stated.peer_gbps)
        if slot.assumed:
            self.assumed.append(slot.assumed)
        self.devices.append(facts.in_slot(device, slot))
        self.pools.append(pool)
        self.slots[device.id] = slot

    def _add_integrated(self, named: NamedGpu, machines: int) -> None:
        device, assumed = facts.integrated(named.model, self._ram_bytes, self._gtt_bytes, self._bus_gbps)
        self.devices.append(device)
        self.assumed.append(assumed)
        for other in range(2, machines + 1):
            remote, pool = facts.elsewhere(device, other, self._ram_bytes)
            self.devices.append(remote)
            self.pools.append(pool)


def _ram(stated: float | None, listed: GpuWords) -> tuple[float, str]:
    if stated:
        return stated, ""
    shared = [named.vram_gib for named in listed.found if named.model.kind == "igpu" and named.vram_gib]
    gib = shared[0] if shared else _ASSUMED_RAM_GIB
    return gib, f"{gib:g} GiB of system memory are assumed"


def _by_its_gpu(said: CpuWords, listed: GpuWords) -> CpuWords:
    """A processor that is not described, but that only one has such a GPU inside (GB10, Apple)."""
    inside = {named.model.name for named in listed.found if named.model.kind == "igpu"}
    models: list[CpuModel] = [model for model in cpu_models() if model.gpu in inside]
    return replace(said, model=models[0], nearest=()) if len(models) == 1 else said


def _unknown(
    cpu: str | None, said: CpuWords, listed: GpuWords, memory: str | None, words: MemoryWords, pcie: str | None
) -> tuple[str, ...]:
    sentences = []
    if cpu and cpu.strip() and said.model is None:
        sentences.append(not_known("processor", cpu, said.nearest))
    sentences += [not_known("GPU", one.text, one.nearest) for one in listed.unknown]
    if words.unknown and memory:
        sentences.append(f"The memory {memory.strip()!r} is not understood; write it like DDR5-5600")
    if pcie and pcie.strip() and not read_pcie(pcie).understood:
        sentences.append(f"The slot {pcie.strip()!r} is not understood; write it like PCIe 4.0 x16")
    return tuple(sentences)


def not_known(kind: str, text: str, nearest: tuple[str, ...]) -> str:
    """The sentence for a name that no row answers to."""
    close = f"; nearest are {', '.join(nearest)}" if nearest else ""
    return f"No {kind} is known as {text.strip()!r}{close}"
