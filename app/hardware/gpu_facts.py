"""Devices, pools and links of graphics processors, as the detectors would state them, from a description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.hardware import words as w
from app.hardware.cpu_facts import HOST_MEMORY
from app.hardware.gpus import NamedGpu
from app.hardware.pcie import GTPS, PcieWords, read_pcie
from app.hardware.tables import GpuModel
from detectors.facts import Device, Link, MemoryPool, PcieLink

GIB = 1 << 30


def discrete(named: NamedGpu, place: int) -> tuple[Device, MemoryPool]:
    """One card and its memory.

    Args:
        named: the entry of the list.
        place: 0 for the first card of the machine; makes its id.
    """
    model = named.model
    name = model.full_name
    size = round((named.vram_gib or 0) * GIB)
    spot = f"0000:{place + 1:02x}:00.0"
    device = Device(
        id=f"gpu:{spot}",
        kind="dgpu",
        name=name,
        vendor=model.vendor,
        pool_id=f"vram:{spot}",
        arch=model.arch,
        bandwidth_gbps=model.bandwidth_gbps,
        bandwidth_basis="table",
        fp16_tflops=model.fp16_tflops,
        visible_vram_bytes=size,
        pci_id=pci_id(model),
        compute_units=model.compute_units,
    )
    return device, MemoryPool(f"vram:{spot}", f"{name} VRAM", size, None)


def pci_id(model: GpuModel) -> str | None:
    """Its first PCI id without the revision."""
    return ":".join(model.pci_ids[0].split(":")[:2]) if model.pci_ids else None


def integrated(model: GpuModel, ram_bytes: int, gtt_bytes: int | None, bus_gbps: float | None) -> tuple[Device, str]:
    """A GPU that computes from the system's memory, and what was taken for granted of it.

    Args:
        model: the GPU.
        ram_bytes: system memory.
        gtt_bytes: AMD: what the driver lets it map; `None`: seven eighths, as guides set it (112 of 128 GiB).
        bus_gbps: what the memory bus can do, where its speed was stated; else the table's figure stands.
    """
    assumed = ""
    limit: int | None = None
    if model.vendor == "AMD":
        limit = gtt_bytes if gtt_bytes is not None else ram_bytes * 7 // 8
        if gtt_bytes is None:
            assumed = f"the {model.name} may use {limit / GIB:.0f} GiB of memory (GTT)"
    elif model.vendor == "Apple":
        # Metal's recommendedMaxWorkingSetSize: two thirds up to 36 GB, three quarters above.
        limit = ram_bytes * 2 // 3 if ram_bytes <= 36 * GIB else ram_bytes * 3 // 4
        assumed = f"the {model.name} may use {limit / GIB:.0f} GiB of memory (Metal's own limit)"
    device = Device(
        id="gpu:0000:00:02.0",
        kind="igpu",
        name=model.full_name,
        vendor=model.vendor,
        pool_id=HOST_MEMORY,
        limit_bytes=limit,
        arch=model.arch,
        bandwidth_gbps=bus_gbps or model.bandwidth_gbps,
        bandwidth_basis="table",
        fp16_tflops=model.fp16_tflops,
        gtt_bytes=limit if model.vendor == "AMD" else None,
        pci_id=pci_id(model),
        compute_units=model.compute_units,
    )
    return device, assumed


def elsewhere(device: Device, machine: int, ram_bytes: int) -> tuple[Device, MemoryPool]:
    """The same device in another machine, reached over the network.

    Args:
        device: the one of this machine.
        machine: number of the other machine: 2 and up.
        ram_bytes: its memory.
    """
    place = f"remote:machine{machine}:50052"
    remote = replace(device, id=place, kind="remote", pool_id=place, gtt_bytes=None, link=None)
    return remote, MemoryPool(place, f"memory of machine {machine}", device.limit_bytes or ram_bytes, None)


def slot_of(device: Device, text: str | None) -> PcieWords:
    """What a description of slots says of one card: the part that names it, else all of it."""
    parts = [part for part in (text or "").split(";") if part.strip()]
    numbers = {word for word in w.words(device.name) if any(sign.isdigit() for sign in word)}
    mine = [part for part in parts if numbers.intersection(w.words(part))] if len(parts) > 1 else []
    whole = read_pcie(text)
    if not mine:
        return whole
    own = read_pcie("; ".join(mine))
    return replace(own, peer_to_peer=whole.peer_to_peer, peer_gbps=whole.peer_gbps)


def assumed_slot(model: GpuModel, generation: int | None) -> PcieWords:
    """The slot where none is stated: the card's own connector, at the processor's generation if that is less."""
    if not model.slot:
        return PcieWords()
    own, _, lanes = model.slot.partition("x")
    used = min(int(own), generation or int(own))
    return PcieWords(used, int(lanes), assumed=f"PCIe {used}.0 x{lanes} is assumed of {model.name}")


def in_slot(device: Device, slot: PcieWords) -> Device:
    """The card in that slot."""
    if slot.generation is None and not slot.tunnelled:
        return device
    speed = GTPS[slot.generation] if slot.generation is not None else None
    lanes = None if slot.generation is None else slot.lanes or 16
    return replace(
        device,
        link=PcieLink(speed, lanes, speed, lanes, tunnelled=slot.tunnelled, source="description"),
    )


def with_figures(link: Link, slots: Mapping[str, PcieWords]) -> Link:
    """One link with the figures that the description states or that had to be assumed."""
    ends = [slot for slot in (slots.get(link.from_id), slots.get(link.to_id)) if slot is not None]
    if not ends or link.path == "same memory":
        return link
    peer = next((slot.peer_gbps for slot in ends if slot.peer_gbps is not None), None)
    if peer is not None and link.path != "host":
        return replace(link, bandwidth_gbps=peer, basis="measured", how="as described")
    measured = [slot.measured_gbps for slot in ends if slot.measured_gbps is not None]
    if measured:
        return replace(link, bandwidth_gbps=min(measured), basis="measured", how="as described")
    if any(slot.assumed for slot in ends):
        return replace(link, basis="estimated", how="; ".join(slot.assumed for slot in ends if slot.assumed))
    return replace(link, how=link.how if link.bandwidth_gbps is None else f"{link.how}, as described", basis="table")
