"""Changes of the discrete GPUs: other cards, more of them, their slots and their ways to each other."""

from __future__ import annotations

from dataclasses import replace

from app.errors import UsageError
from app.hardware import gpu_facts as facts
from app.hardware.change_words import EXAMPLES, Change, device_list, named_list, no_such, without
from app.hardware.gpus import NamedGpu, read_gpus
from app.hardware.pcie import GTPS, PcieWords, read_pcie
from app.hardware.relinked import relinked
from detectors.facts import Machine, PcieLink

_NONE = frozenset({"none", "no", "off", "0", "-"})


def other_gpus(machine: Machine, value: str) -> Change:
    """Other discrete GPUs in place of those that there are."""
    gone = [device for device in machine.devices if device.kind == "dgpu"]
    was = device_list(gone)
    left = without(machine, gone)
    if value.lower() in _NONE:
        return left, f"without {was}" if gone else "there is no discrete GPU anyway"
    slots = [device.link for device in gone]
    added, names = _added(left, value, list(slots))
    reused = [slot.bandwidth_gbps for slot in slots if slot is not None and slot.bandwidth_gbps]
    where = f", in its slot ({reused[0]:.1f} GB/s)" if len(reused) == 1 else ""
    return added, f"{names} in place of {was}{where}" if gone else f"{names} added"


def more_gpus(machine: Machine, value: str) -> Change:
    """More discrete GPUs beside those that there are."""
    added, names = _added(machine, value, [])
    return added, f"{names} added"


def _added(machine: Machine, value: str, slots: list[PcieLink | None]) -> tuple[Machine, str]:
    """The machine with more cards, in the slots of others as far as there are any."""
    listed = read_gpus(value)
    for unknown in listed.unknown:
        raise no_such("GPU", unknown.text, unknown.nearest)
    for named in listed.found:
        if named.model.kind == "igpu":
            raise UsageError(
                f"The {named.model.full_name} is part of a processor",
                hint=f"Say cpu= with one that has it, or {EXAMPLES['gpu']}.",
            )
    devices, pools = list(machine.devices), list(machine.pools)
    assumed: dict[str, PcieWords] = {}
    for named in listed.found:
        for _ in range(named.count):
            taken = {device.id for device in devices}
            place = next(number for number in range(len(devices) + 1) if f"gpu:0000:{number + 1:02x}:00.0" not in taken)
            device, pool = facts.discrete(named, place)
            if slots and (slot := slots.pop(0)) is not None and slot.bandwidth_gbps is not None:
                device = replace(device, link=_same_slot(slot, named))
            else:
                assumed[device.id] = facts.assumed_slot(named.model, None)
                device = facts.in_slot(device, assumed[device.id])
            devices.append(device)
            pools.append(pool)
    names = named_list(listed.found)
    notes = "; ".join(dict.fromkeys(slot.assumed for slot in assumed.values() if slot.assumed))
    changed = relinked(replace(machine, devices=tuple(devices), pools=tuple(pools)), assumed)
    return changed, f"{names} ({notes})" if notes else names


def _same_slot(slot: PcieLink, named: NamedGpu) -> PcieLink:
    """The slot that another card was in, at the speed that was seen of it, as far as the new card can use it."""
    own = read_pcie(named.model.slot)
    speed, lanes = slot.max_gtps or slot.current_gtps, slot.current_width or slot.max_width
    if own.generation is not None and own.lanes is not None and speed is not None and lanes is not None:
        speed, lanes = min(speed, GTPS[own.generation]), min(lanes, own.lanes)
    return PcieLink(speed, lanes, speed, lanes, source="description")


def other_slots(machine: Machine, value: str) -> Change:
    """Another slot for every discrete GPU."""
    said = read_pcie(value)
    if not said.understood:
        raise UsageError(f"{value!r} is no slot", hint=f"Write it like {EXAMPLES['pcie']}, or PCIe 4.0 x4.")
    cards = [device for device in machine.devices if device.kind == "dgpu"]
    if not cards:
        raise UsageError("There is no discrete GPU whose slot could change", hint=f"Add {EXAMPLES['gpu']}.")
    slots = {device.id: said for device in cards}
    devices = tuple(facts.in_slot(device, said) if device.id in slots else device for device in machine.devices)
    changed = relinked(replace(machine, devices=devices), slots)
    return (
        changed,
        f"{device_list(cards)} at {value} ({said.gbps:.1f} GB/s)" if said.gbps else f"{device_list(cards)} at {value}",
    )


def peer_to_peer(machine: Machine, value: str) -> Change:
    """Whether GPUs of one maker reach each other's memory without the host."""
    if value.lower() not in ("on", "off", "yes", "no"):
        raise UsageError(f"p2p is on or off, not {value!r}", hint=f"Write it like {EXAMPLES['p2p']}.")
    on = value.lower() in ("on", "yes")
    kinds = {device.id: device for device in machine.devices if device.kind in ("dgpu", "igpu")}
    links, count = [], 0
    for link in machine.links:
        one, two = kinds.get(link.from_id), kinds.get(link.to_id)
        if one is None or two is None or link.path == "same memory" or one.vendor != two.vendor:
            links.append(link)
            continue
        count += 1
        path = link.path if link.path in ("xgmi", "nvlink") and on else "peer-to-peer" if on else "through the host"
        links.append(replace(link, peer_to_peer=on, path=path, why="as asked"))
    if not count:
        raise UsageError("No two GPUs here could reach each other's memory", hint="It takes two of one maker.")
    return replace(machine, links=tuple(links)), f"peer-to-peer {'on' if on else 'off'} between GPUs"
