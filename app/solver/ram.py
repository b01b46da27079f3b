"""How fast the processor reads its memory, where that was not measured: by the modules and the processor's build."""

from __future__ import annotations

from dataclasses import replace

from app.solver import constants as k
from detectors.facts import Basis, Cpu, Device, Machine

_AM5 = ((25, 0x61), (26, 0x44))
"""Desktop processors of Zen 4 and Zen 5 (Ryzen 7000 and 9000) by family and model."""

_WITHOUT_LINKS = frozenset({
    (23, 1), (23, 8), (23, 17), (23, 24), (23, 96), (23, 104), (25, 68), (25, 80), (25, 116), (25, 117), (25, 120),
    (26, 36), (26, 96),
})  # fmt: skip
"""Family and model of AMD's processors whose cores and memory controller are on one die: Zen, and the APUs Renoir,
Lucienne, Rembrandt, Cezanne, Phoenix, Hawk Point, Strix Point and Krackan (not Strix Halo)."""


def with_ram_bandwidth(machine: Machine) -> Machine:
    """The machine with the bandwidth of its CPU that an engine can use; as it is, where nothing is known.

    That is what the modules could move, or what the chiplets' links let through if that is less. A measured figure
    counts three quarters of it (geometrically): tools differ too.
    """
    devices = tuple(_with_bandwidth(device, machine) if device.kind == "cpu" else device for device in machine.devices)
    return machine if devices == machine.devices else replace(machine, devices=devices)


def _with_bandwidth(device: Device, machine: Machine) -> Device:
    found = bus_bandwidth(machine)
    measured = device.bandwidth_gbps
    if found is None:
        return device
    if measured is None:
        return replace(device, bandwidth_gbps=found[0], bandwidth_basis=found[1])
    if device.bandwidth_basis != "measured":
        return device  # once is enough: what comes out below is no longer a measurement
    bus = machine.memory.bus if machine.memory is not None else None
    most = (bus.theoretical_gbps if bus is not None else None) or measured
    share = k.MEASURED_WEIGHT
    mixed = min(measured / k.MEASURED_SHARE, most) ** share * found[0] ** (1 - share)
    return replace(device, bandwidth_gbps=mixed, bandwidth_basis=found[1])


def bus_bandwidth(machine: Machine) -> tuple[float, Basis] | None:
    """GB/s of all sockets together: what the modules could, or what the chiplets' links let through if that is less."""
    bus = machine.memory.bus if machine.memory is not None else None
    if bus is None or not bus.theoretical_gbps:
        return None
    links = link_bandwidth(machine.cpu)
    if links is not None and links < bus.theoretical_gbps:
        return links, "table"
    return bus.theoretical_gbps, bus.basis


def link_bandwidth(cpu: Cpu | None) -> float | None:
    """GB/s that an AMD processor's chiplets draw from its memory controller; `None`: no such bound is known.

    Each core complex die has a link of its own. From Zen 3 on it has one L3 cache; Zen 2 and Zen 4c have two.
    """
    if cpu is None or cpu.vendor not in ("AMD", "AuthenticAMD") or cpu.hypervisor or not cpu.l3_domains:
        return None
    if (cpu.family, cpu.model_number) in _WITHOUT_LINKS:
        return None
    caches = len(cpu.l3_domains)
    if cpu.family == k.ZEN_4_FAMILY and 0xA0 <= (cpu.model_number or 0) <= 0xAF:
        caches = -(-caches // 2)
    if cpu.family == k.ZEN_2_FAMILY:
        return -(-caches // 2) * k.ZEN_3_LINK_GBPS
    if cpu.family == k.ZEN_4_FAMILY and not _is_zen_4(cpu.model_number or 0):
        return caches * k.ZEN_3_LINK_GBPS
    if cpu.family not in (k.ZEN_4_FAMILY, k.ZEN_5_FAMILY):
        return None
    links = caches * k.ZEN_4_LINK_GBPS
    return min(links, k.AM5_GBPS) if (cpu.family, cpu.model_number) in _AM5 else links


def _is_zen_4(model: int) -> bool:
    """Which models of family 25 are Zen 4; the others are Zen 3."""
    return 0x10 <= model <= 0x1F or 0x60 <= model <= 0x7F or 0xA0 <= model <= 0xAF
