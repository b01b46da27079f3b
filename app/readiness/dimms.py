"""The memory bus: channels, speed, and what was measured of it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.readiness.case import Case, is_strix_halo
from app.readiness.finding import Finding, Fix
from detectors.facts import Cpu, MemoryBus

# Channels of 64 bits for each processor, from the makers' data sheets; the first pattern that fits counts.
_CHANNELS = (
    (re.compile(r"EPYC 9\d\d[45]"), 12),
    (re.compile(r"EPYC 8\d\d4"), 6),
    (re.compile(r"EPYC 7\d\d[1-3]"), 8),
    (re.compile(r"Threadripper PRO"), 8),
    (re.compile(r"Threadripper"), 4),
    (re.compile(r"Xeon\S*\s+69\d\d"), 12),
    (re.compile(r"Xeon\S*\s+6[57]\d\d"), 8),
    (re.compile(r"Xeon.*\b(?:Platinum|Gold|Silver|Bronze)\s+\d[345]\d\d|Xeon.*\bMax\b"), 8),
    (re.compile(r"Xeon.*\bw\d-3[45]\d\d"), 8),
    (re.compile(r"Xeon.*\bw\d-2[45]\d\d"), 4),
    (re.compile(r"Ryzen|Core\(TM\)|Core Ultra"), 2),
)
_SERVER = re.compile(r"EPYC|Xeon.*\b(?:Platinum|Gold|Silver|Bronze|Max)\b|Xeon\S*\s+6\d{3}")
"""They take registered modules, which have no memory profiles (EXPO, XMP) to switch on."""
_LOW_SHARE = 0.55
_STRIX_HALO_LOW_SHARE = 0.35
"""Its CPU reads 100 to 118 of 256 GB/s (published measurements); the rest is there for the GPU."""
_GOOD_SHARE = "66 to 87 % of what the modules could is usual"


def expected_channels(model: str, sockets: int | None) -> int | None:
    """Channels that a machine with this processor can have; `None` where it is not in the table."""
    found = next((channels for pattern, channels in _CHANNELS if pattern.search(model)), None)
    return found * (sockets or 1) if found is not None else None


def check_bus(case: Case) -> Iterator[Finding]:
    """Channels populated and the speed they run at; a virtual machine's modules are made up."""
    if case.cpu is None or case.hypervisor or case.wsl or not case.uses_ram:
        return
    bus = case.machine.memory.bus if case.machine.memory is not None else None
    if bus is None or (not bus.modules and bus.configured_mts is None):
        why = case.why_unknown("memory", "dmi", "smbios")
        reason = "Speed and number of channels decide how fast experts on the CPU are read."
        if case.container:
            why = "a container does not see the firmware's tables"
        yield Finding("mem.channels", "unknown", "Memory modules and channels are not known", why, reason)
        return
    yield from _channels(case, bus)
    yield from _speed(bus, case.cpu)


def _channels(case: Case, bus: MemoryBus) -> Iterator[Finding]:
    cpu = case.cpu
    possible = expected_channels(cpu.model, cpu.sockets) if cpu else None
    soldered = (bus.type or "").startswith("LPDDR")
    reason = "Each empty channel takes its share of the bandwidth, and so of the speed of experts on the CPU."
    how = bus.channels_how or bus.source
    evidence = f"modules: {len(bus.modules)}, channels with a module: {bus.channels or '?'} ({how})"
    if bus.channels is None:
        yield Finding("mem.channels", "unknown", "The number of memory channels in use is not known", evidence, reason)
    elif possible is not None and bus.channels < possible and not soldered:
        fix = Fix(
            f"fit modules of the same kind in the empty channels, {possible} in all (the board's manual says where)",
            "take them out again",
            "sudo dmidecode -t memory | grep -E 'Locator|Size'",
            reboot=True,
        )
        title = f"{bus.channels} of {possible} memory channels are in use"
        share = 1 - bus.channels / possible
        yield Finding("mem.channels", "costs", title, evidence, f"{reason} Here {share:.0%}.", fix, share)
    else:
        yield Finding("mem.channels", "good", f"{bus.channels} memory channels are in use", evidence, reason)


def _speed(bus: MemoryBus, cpu: Cpu) -> Iterator[Finding]:
    rated, runs = bus.rated_mts, bus.configured_mts
    reason = "Generation through experts on the CPU is as fast as this memory."
    if not rated or not runs:
        yield Finding("mem.speed", "unknown", "The speed of the memory is not known", bus.source or "no source", reason)
    elif runs < rated and _SERVER.search(cpu.model):
        evidence = f"{bus.type or 'memory'}: rated {rated}, configured {runs} MT/s ({bus.source})"
        why = "A server's processor has a highest speed of its own, lower with two modules a channel: this may be it."
        title = f"The memory runs at {runs} MT/s; its modules could do {rated}"
        yield Finding("mem.speed", "note", title, evidence, f"{reason} {why}", cost_share=1 - runs / rated)
    elif runs < rated:
        fix = Fix(
            "in the firmware: enable the memory profile (EXPO, XMP); with four modules on a desktop less may be stable",
            "disable the profile again",
            "sudo dmidecode -t memory | grep 'Configured Memory Speed'",
            reboot=True,
        )
        title = f"The memory runs at {runs} of {rated} MT/s"
        share = 1 - runs / rated
        evidence = f"{bus.type or 'memory'}: rated {rated}, configured {runs} MT/s ({bus.source})"
        yield Finding("mem.speed", "costs", title, evidence, f"{reason} {share:.0%} are lost.", fix, share)
    else:
        evidence = f"{bus.type or 'memory'}, rated {rated} MT/s ({bus.source})"
        yield Finding("mem.speed", "good", f"The memory runs at {runs} MT/s", evidence, reason)


def check_bandwidth(case: Case) -> Iterator[Finding]:
    """The measured read bandwidth against the bus, where it was measured."""
    cpu = next((device for device in case.machine.devices if device.kind == "cpu"), None)
    memory = case.machine.memory
    if cpu is None or not case.uses("cpu"):
        return
    theoretical = memory.bus.theoretical_gbps if memory is not None and memory.bus is not None else None
    reason = f"Experts on the CPU are read at this speed; {_GOOD_SHARE}."
    if cpu.bandwidth_basis != "measured" or cpu.bandwidth_gbps is None:
        why = "it was not measured: moetune check --measure does it in a second or two"
        if theoretical:
            why += f"; the modules could {theoretical:.0f} GB/s"
        yield Finding("mem.bw", "unknown", "How fast this CPU reads its memory is not known", why, reason)
        return
    measured = cpu.bandwidth_gbps
    if not theoretical:
        why = f"measured {measured:.0f} GB/s; what the modules could is not known"
        yield Finding("mem.bw", "unknown", f"The CPU reads {measured:.0f} GB/s", why, reason)
        return
    share = measured / theoretical
    evidence = f"measured {measured:.0f} of {theoretical:.0f} GB/s ({share:.0%})"
    apu = any(is_strix_halo(gpu) for gpu in case.machine.devices)
    if share >= (_STRIX_HALO_LOW_SHARE if apu else _LOW_SHARE):
        yield Finding("mem.bw", "good", f"The CPU reads {measured:.0f} GB/s", evidence, reason)
        return
    fix = Fix(
        "stop other load and measure again (moetune check --measure); then look at the governor, the firmware's NPS or "
        "SNC setting, and the virtual machine's CPU count",
        "nothing to undo",
        "moetune check --measure",
        reboot=False,
    )
    title = f"The CPU reads only {measured:.0f} of {theoretical:.0f} GB/s"
    yield Finding("mem.bw.low", "costs", title, evidence, reason, fix, 0.66 - share)
