"""Changes of the system's memory and of the processor."""

from __future__ import annotations

import re
from dataclasses import replace

from app.errors import UsageError
from app.hardware import gpu_facts as facts
from app.hardware.change_words import EXAMPLES, Change, bus_of, gibibytes, no_such, without
from app.hardware.cpu_facts import HOST_MEMORY, cpu_facts, host_device, memory_bus
from app.hardware.cpus import CpuWords, nearest_cpus, read_cpu
from app.hardware.gpus import read_gpus
from app.hardware.known import ANY_MEMORY_BITS
from app.hardware.memory import MemoryWords, read_memory
from app.hardware.relinked import relinked
from detectors.facts import Device, Machine, MemoryBus, MemoryFacts, MemoryPool


def other_ram(machine: Machine, value: str) -> Change:
    """More or less system memory; its bandwidth stays."""
    gib = gibibytes("ram", value)
    total = round(gib * facts.GIB)
    old = machine.pool(HOST_MEMORY)
    used = 0 if old.available_bytes is None else old.total_bytes - old.available_bytes
    free = None if old.available_bytes is None else max(0, total - used)
    pool = replace(old, total_bytes=total, available_bytes=free, physical_bytes=None)
    devices = tuple(_with_ram(device, old, pool) for device in machine.devices)
    memory = machine.memory
    if memory is not None:
        left = None if memory.available_bytes is None or free is None else max(0, free - pool.carveout_bytes)
        memory = replace(memory, total_bytes=total - pool.carveout_bytes, available_bytes=left, limit_bytes=None)
    pools = tuple(pool if one.id == old.id else one for one in machine.pools)
    changed = replace(machine, pools=pools, devices=devices, memory=memory)
    return changed, f"{gib:g} GiB of memory in place of {old.total_bytes / facts.GIB:.0f}"


def _with_ram(device: Device, old: MemoryPool, new: MemoryPool) -> Device:
    """A device of the host's memory, bounded as before: what it could not use of it stays out of reach."""
    if device.pool_id != old.id:
        return device
    limit, available = device.limit_bytes, device.available_bytes
    system = new.total_bytes - new.carveout_bytes
    if device.kind == "cpu":
        limit = None if limit is None else system
    elif device.gtt_bytes is not None:
        limit = min(device.gtt_bytes, system) + (device.carveout_bytes or 0)
    elif limit is not None:
        limit = round(limit * new.total_bytes / old.total_bytes)
    if available is not None and new.available_bytes is not None:
        available = min(new.available_bytes, limit if limit is not None else new.available_bytes)
    return replace(device, limit_bytes=limit, available_bytes=available)


def other_gtt(machine: Machine, value: str) -> Change:
    """Another share of the memory that the driver lets an APU of AMD map."""
    gib = gibibytes("gtt", value)
    ram = machine.pool(HOST_MEMORY)
    system = ram.total_bytes - ram.carveout_bytes
    size = round(gib * facts.GIB)
    gpus = [device for device in machine.devices if device.kind == "igpu" and device.vendor == "AMD"]
    if not gpus:
        raise UsageError("Only AMD's integrated GPUs have a GTT to set", hint="There is none in this machine.")
    if size > system:
        raise UsageError(
            f"{gib:g} GiB of GTT are more than the {system / facts.GIB:.0f} GiB of memory",
            hint="Say ram= too, or less.",
        )
    devices = tuple(_with_gtt(device, size, ram) if device in gpus else device for device in machine.devices)
    old = gpus[0].gtt_bytes
    was = "" if old is None else f" in place of {old / facts.GIB:.0f}"
    return replace(machine, devices=devices), f"{gib:g} GiB of GTT{was}"


def _with_gtt(device: Device, size: int, ram: MemoryPool) -> Device:
    carved = device.carveout_bytes or 0
    available = device.available_bytes
    if available is not None:
        free = size - min(device.gtt_used_bytes or 0, size)
        free = free if ram.available_bytes is None else min(free, ram.available_bytes)
        available = free + carved - min(carved, device.carveout_used_bytes or 0)
    return replace(device, gtt_bytes=size, limit_bytes=carved + size, available_bytes=available)


def other_memory(machine: Machine, value: str) -> Change:
    """Memory of another type, speed or number of channels."""
    words = read_memory(value)
    if words.mts is None and words.gbps is None and not words.channels:
        raise UsageError(f"{value!r} is no memory with a speed", hint=f"Write it like {EXAMPLES['memory']}.")
    return _with_bus(machine, words, None, value)


def other_channels(machine: Machine, value: str) -> Change:
    """Another number of memory channels at the same speed."""
    if not re.fullmatch(r"[1-9]\d?", value):
        raise UsageError(f"channels is a number, not {value!r}", hint=f"Write it like {EXAMPLES['channels']}.")
    old = bus_of(machine)
    if old is None or not (old.configured_mts or old.rated_mts):
        raise UsageError("The speed of this machine's memory is not known", hint=f"Say {EXAMPLES['memory']} too.")
    return _with_bus(machine, MemoryWords(type=old.type, mts=old.configured_mts or old.rated_mts), int(value), "")


def _with_bus(machine: Machine, words: MemoryWords, channels: int | None, value: str) -> Change:
    """Another memory bus; what reads through it becomes faster or slower in proportion."""
    old = bus_of(machine)
    cpu = read_cpu(machine.cpu.model if machine.cpu is not None else "")
    cpu = replace(cpu, count=(machine.cpu.sockets or 1) if machine.cpu is not None else 1)
    width = channels or words.channels
    if width is None and old is not None and old.bits is not None and not words.bits:
        words = replace(words, bits=old.bits)
    bus, _ = memory_bus(cpu, words, channels, None)
    if bus is None or bus.theoretical_gbps is None:
        raise UsageError("How many channels this machine's memory has is not known", hint="Say it: channels=2.")
    before = old.theoretical_gbps if old is not None else None
    memory = machine.memory or MemoryFacts(machine.pool(HOST_MEMORY).total_bytes)
    devices = tuple(_with_bandwidth(device, before, bus) for device in machine.devices)
    changed = relinked(replace(machine, memory=replace(memory, bus=bus), devices=devices), {}, shared=True)
    was = "" if before is None else f" in place of {before:.0f}"
    what = value or f"{bus.channels} memory channel{'' if bus.channels == 1 else 's'}"
    return changed, f"{what}: {bus.theoretical_gbps:.0f} GB/s{was}"


def _with_bandwidth(device: Device, before: float | None, bus: MemoryBus) -> Device:
    if device.pool_id != HOST_MEMORY or device.bandwidth_gbps is None or bus.theoretical_gbps is None:
        return device
    if before is None:
        return replace(device, bandwidth_gbps=None, bandwidth_basis="estimated")
    return replace(
        device, bandwidth_gbps=device.bandwidth_gbps * bus.theoretical_gbps / before, bandwidth_basis="estimated"
    )


def other_cpu(machine: Machine, value: str) -> Change:
    """Another processor, with its own channels at its highest memory speed; the size of the memory stays."""
    said = read_cpu(value)
    if said.model is None or not said.model.exact:
        raise no_such("processor", value, said.nearest or nearest_cpus(value))
    ram = machine.pool(HOST_MEMORY)
    gone = [device for device in machine.devices if device.kind == "igpu" or device.id == "cpu"]
    left = without(machine, gone)
    new, _ = cpu_facts(said, ram.total_bytes - ram.carveout_bytes)
    bus, _ = memory_bus(said, MemoryWords(), None, None)
    host = host_device(new, None)
    pool = replace(ram, carveout_bytes=0)
    devices = [host, *_inside(said, pool), *left.devices]
    memory = machine.memory or MemoryFacts(pool.total_bytes)
    pools = tuple(pool if one.id == pool.id else one for one in left.pools)
    changed = replace(left, cpu=new, devices=tuple(devices), pools=pools, memory=replace(memory, bus=bus))
    old = machine.cpu.model if machine.cpu is not None else "the processor"
    speed = f", {bus.type}-{bus.configured_mts} on {bus.channels} channels" if bus is not None else ""
    return relinked(changed, {}), f"{host.name} in place of {old}{speed}"


def _inside(said: CpuWords, ram: MemoryPool) -> list[Device]:
    """The GPU inside a processor that is bought for it."""
    if said.model is None or said.model.gpu is None or (said.model.bits or 0) <= ANY_MEMORY_BITS:
        return []
    named = read_gpus(said.model.gpu).found
    return [facts.integrated(named[0].model, ram.total_bytes, None, None)[0]] if named else []
