"""Where a row's model is, as its placement, its class and its flags say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from app.solver.model import ModelShape
from app.solver.plan import Placement
from detectors.facts import Device, Machine
from tests.benchmarks.rows.source import Cells, cell

_OVERRIDE = re.compile(r"(?:^|\s)(?:-ot|--override-tensor)\s+(\"[^\"]*\"|'[^']*'|\S+)")
_NGL = re.compile(r"(?:-ngl|--n-gpu-layers|ngl=)\s*(\d+)")
_NCMOE = re.compile(r"(?:ncmoe|--n-cpu-moe|-ncmoe)[=~ ]*(\d+)")
_PARTS = ("gate", "up", "down")


class Unplaced(Exception):  # noqa: N818  (it is a reason, not a failure)
    """Why a row's placement cannot be told."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a row's machine by what they are for."""

    host: str
    cards: tuple[Device, ...]
    """Discrete GPUs, or the iGPU where there is no other, in the order of their names."""
    igpu: Device | None
    remotes: tuple[Device, ...]

    @classmethod
    def of(cls, machine: Machine) -> Devices:
        """Sorted out by kind."""
        cards = tuple(device for device in machine.devices if device.kind == "dgpu")
        igpu = next((device for device in machine.devices if device.kind == "igpu"), None)
        remotes = tuple(device for device in machine.devices if device.kind == "remote")
        return cls("cpu", cards or ((igpu,) if igpu else ()), igpu, remotes)


def placement_of(cells: Cells, machine: Machine, shape: ModelShape) -> Placement:
    """What is where.

    Raises:
        Unplaced: the row does not say, or names a device that its machine lacks.
    """
    devices = Devices.of(machine)
    kind, words, flags = cells.get("placement_class", ""), cells.get("placement", ""), cells.get("flags", "")
    kind = kind or stated_class(words)
    if kind == "auto_fit":
        raise Unplaced("the placement is not stated (the engine fitted it)")
    if kind == "cpu_only":
        return Placement.on(devices.host, [devices.host] * len(shape.layers))
    if not devices.cards:
        raise Unplaced("the GPU is not stated")
    if re.search(r"-> (?:remote|local)", words):
        raise Unplaced("which tensors are on which node is not stated")
    if kind in ("unified", "all_gpu"):
        return _spread(shape, (*devices.cards, *devices.remotes))
    if kind == "layers_split":
        return _layers(words, shape, devices)
    if kind == "experts_igpu":
        return _beside_the_igpu(words, shape, devices)
    return _experts_on_the_host(words, flags, shape, devices, cell(cells, "runtime"))


def stated_class(words: str) -> str:
    """The class that a placement's words say, where no column does.

    Raises:
        Unplaced: there are no words.
    """
    kinds = {"ncmoe": "hybrid_ncmoe", "layers": "layers_split", "auto": "auto_fit"}
    for start in ("cpu_only", "unified", "all_gpu", "experts_igpu", *kinds):
        if words.startswith(start):
            return kinds.get(start, start)
    if not words:
        raise Unplaced("the placement is not stated")
    return "hybrid_experts_cpu"


def _spread(shape: ModelShape, devices: Sequence[Device]) -> Placement:
    """Whole layers over several devices in proportion to their memory, as the engine does by itself."""
    count = len(shape.layers)
    owners = tuple(
        device.id for device, share in zip(devices, _shares(devices, count), strict=True) for _ in range(share)
    )
    return Placement(owners, owners, owners[-1])


def _shares(devices: Sequence[Device], count: int) -> list[int]:
    sizes = [device.limit_bytes or 1 for device in devices]
    bounds = [round(count * sum(sizes[: i + 1]) / sum(sizes)) for i in range(len(sizes))]
    return [high - low for low, high in zip([0, *bounds], bounds, strict=False)]


def _layers(words: str, shape: ModelShape, devices: Devices) -> Placement:
    match = _NGL.search(words)
    count = len(shape.layers)
    if match is None:
        if len(devices.cards) > 1:
            return _spread(shape, devices.cards)
        raise Unplaced("how many layers are on the GPU is not stated")
    on_gpu = min(int(match[1]), count)
    owners = (devices.host,) * (count - on_gpu) + (devices.cards[0].id,) * on_gpu
    return Placement(owners, owners, devices.cards[0].id if int(match[1]) > count else devices.host)


def _beside_the_igpu(words: str, shape: ModelShape, devices: Devices) -> Placement:
    if devices.igpu is None or devices.igpu in devices.cards:
        raise Unplaced("experts on an iGPU need a discrete GPU beside it, and none is stated")
    card, igpu = devices.cards[0].id, devices.igpu.id
    first = re.search(r"blk (\d+)-(\d+)\)?(?: on dGPU)?", words)
    here = range(len(shape.layers))
    if first and "on dGPU" in words and ";" not in words:
        kept = range(int(first[1]), int(first[2]) + 1)
        return Placement.on(card, [card if i in kept else igpu for i in here])
    start = int(first[1]) if first else 0
    return Placement.on(card, [card if i < start or not shape.layers[i].expert_bytes else igpu for i in here])


def _experts_on_the_host(words: str, flags: str, shape: ModelShape, devices: Devices, runtime: str) -> Placement:
    count = len(shape.layers)
    cards = devices.cards if "ktransformers" not in runtime.lower() else devices.cards[:1]
    attention = [device.id for device, share in zip(cards, _shares(cards, count), strict=True) for _ in range(share)]
    match = _NGL.search(flags)
    head = attention[-1]
    if match and int(match[1]) < count:
        attention[: count - int(match[1])] = [devices.host] * (count - int(match[1]))
    experts = _experts(words, flags, shape, devices, attention)
    for i, layer in enumerate(shape.layers):
        if not layer.expert_bytes:
            experts[i] = attention[i]
    resident = re.search(r"gpu-experts[= ](\d+)", f"{words} {flags}")
    return Placement(
        tuple(attention),
        tuple(experts),
        head,
        resident_experts=int(resident[1]) if resident and "ktransformers" in runtime.lower() else 0,
        host_norms=_moves_norms(flags, experts, devices),
    )


def _moves_norms(flags: str, experts: Sequence[str], devices: Devices) -> bool:
    """Whether a pattern for the CPU takes norms and routers along with the experts."""
    rules = _rules(flags)
    layer = next((i for i, owner in enumerate(experts) if owner == devices.host), None)
    if layer is None:
        return False
    return _owner(f"blk.{layer}.ffn_norm.weight", rules, devices, "") == devices.host


def _experts(words: str, flags: str, shape: ModelShape, devices: Devices, attention: list[str]) -> list[str]:
    count, host = len(shape.layers), devices.host
    overridden = _by_patterns(flags, shape, devices, attention)
    if overridden is not None:
        return overridden
    moe = [i for i in range(count) if shape.layers[i].expert_bytes]
    if words.startswith(("experts_cpu (partial", "experts on", "pipelined")) and "blk" not in words:
        raise Unplaced("how many layers' experts are on the GPU is not stated")
    if "config unknown" in words:
        raise Unplaced("the placement is not stated")
    if match := _NCMOE.search(words):
        return [host if i < int(match[1]) else attention[i] for i in range(count)]
    if match := re.search(r"except ~?(\d+) MoE layers?", words):
        kept = moe[: int(match[1])]
        return [attention[i] if i in kept else host for i in range(count)]
    if match := re.search(r"blk (\d+)\+ on CPU", words):
        return [host if i >= int(match[1]) else attention[i] for i in range(count)]
    if match := re.search(r"blk (\d+)-(\d+) (?:ffn )?on (?:\d+ )?GPUs?", words):
        kept = list(range(int(match[1]), int(match[2]) + 1))
        return [attention[i] if i in kept else host for i in range(count)]
    if match := re.search(r"(\d+)% of experts on GPU", words):
        kept = moe[: round(len(moe) * int(match[1]) / 100)]
        return [attention[i] if i in kept else host for i in range(count)]
    return [host] * count


def _by_patterns(flags: str, shape: ModelShape, devices: Devices, attention: list[str]) -> list[str] | None:
    """By the tensor overrides: the first pattern that a name matches decides, as in the engine."""
    rules = _rules(flags)
    names = [f"blk.{i}.ffn_{part}_exps.weight" for i in range(len(shape.layers)) for part in _PARTS]
    if not any(rule.search(name) for rule, _ in rules for name in names):
        return None
    found: list[str] = []
    owed = 0.0
    for i, layer in enumerate(shape.layers):
        if not layer.expert_bytes:
            found.append(attention[i])
            continue
        owners = [_owner(f"blk.{i}.ffn_{part}_exps.weight", rules, devices, attention[i]) for part in _PARTS]
        away = [owner for owner in owners if owner == devices.host]
        # A layer whose matrices are apart counts as that share of a layer: whole layers add up to the same bytes.
        owed += len(away) / len(owners)
        if owed >= 0.5:
            owed -= 1.0
            found.append(devices.host)
        else:
            found.append(next((owner for owner in owners if owner != devices.host), attention[i]))
    return found


def _rules(flags: str) -> list[tuple[re.Pattern[str], str]]:
    """Patterns and buffers of all tensor overrides, in their order."""
    rules: list[tuple[re.Pattern[str], str]] = []
    for group in _OVERRIDE.findall(flags):
        for entry in group.strip("\"'").split(","):
            pattern, _, buffer = entry.rpartition("=")
            try:
                rules.append((re.compile(pattern), buffer.strip("\"'")))
            except re.error:
                continue
    return rules


def _owner(name: str, rules: Sequence[tuple[re.Pattern[str], str]], devices: Devices, default: str) -> str:
    for pattern, buffer in rules:
        if pattern.search(name):
            if buffer.startswith("CPU"):
                return devices.host
            index = re.search(r"\d+$", buffer)
            place = int(index[0]) if index else 0
            return devices.cards[min(place, len(devices.cards) - 1)].id
    return default
