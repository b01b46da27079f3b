"""Placements with all attention on one device, and experts layer by layer where there is room for them.

Layers are alike, so how many layers of experts a device has decides, not which. Each layer costs the same on a device
whatever the others do: filling the cheapest device first is exact for a given set of devices, and every set is tried.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, product

from app.solver import memory
from app.solver.budget import Budgets
from app.solver.layers import CostTable, Layers
from app.solver.model import ModelShape
from app.solver.plan import Parameters, Placement
from detectors.facts import Device, Machine

Block = tuple[str, int]
"""A device and how many layers it attends to."""

Home = tuple[int, int, str]
"""First of the layers with experts, how many of them, and the device that holds their experts."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A placement that fits, and how long the work takes with it."""

    seconds: float
    """Of the work."""
    answer_s: float
    """Of these, the answers."""
    blocks: tuple[Block, ...]
    """Attention in the order of the layers."""
    homes: tuple[Home, ...]
    """Where experts are; those of other layers are with their attention."""
    parameters: Parameters
    devices: frozenset[str]
    moe: tuple[int, ...]
    """The layers with routed experts, which `homes` counts."""

    @property
    def placement(self) -> Placement:
        """The placement itself."""
        attention = [device for device, count in self.blocks for _ in range(count)]
        owners = list(attention)
        for start, count, owner in self.homes:
            for layer in self.moe[start : start + count]:
                owners[layer] = owner
        return Placement(tuple(attention), tuple(owners), self.blocks[-1][0])

    @property
    def owners(self) -> frozenset[str]:
        """The devices that hold experts, of a placement with all attention on one device."""
        return frozenset(owner for _, _, owner in self.homes)


class Filler:
    """Fills devices with a model's layers, for one set of parameters."""

    def __init__(
        self, machine: Machine, shape: ModelShape, layers: Layers, budgets: Budgets, parameters: Parameters
    ) -> None:
        self.shape = shape
        self.layers = layers
        self.budgets = budgets
        self.parameters = parameters
        self.sizes = memory.buffers(shape, parameters)
        per_layer = {
            kind: memory.layer_kv_bytes(layer, shape.window, parameters) for kind, layer in enumerate(layers.kinds)
        }
        self.kv_sums = (0, *accumulate(per_layer[kind] for kind in layers.kind_of))
        self.contexts = {
            device.id: memory.GPU_CONTEXT_BYTES if device.kind == "dgpu" else 0 for device in machine.devices
        }
        self._gpus = {device.id for device in machine.devices if device.kind in ("igpu", "dgpu")}
        self.tables = shape.embedding_bytes + shape.lookup_bytes
        self.needed = layers.resident_sums[-1] + layers.expert_sums[-1] + self.kv_sums[-1]
        """Bytes of all layers and their cache, wherever they go."""

    def room(self, held: dict[str, int]) -> tuple[dict[str, int], dict[str, int]] | None:
        """What is left of each device and pool beside `held`; `None` where that is already too much."""
        left = dict(self.budgets.device)
        pools = dict(self.budgets.pool)
        for device_id, size in held.items():
            left[device_id] -= size
            pools[self.budgets.pool_of[device_id]] -= size
        return None if min(left.values()) < 0 or min(pools.values()) < 0 else (left, pools)

    def held(self, attention: str, owners: Sequence[str], parameters: Parameters) -> dict[str, int]:
        """Bytes by device before any experts are placed: attention on one device, experts to come on `owners`."""
        copies = attention in self._gpus and memory.HOST in owners and memory.copies_experts(parameters)
        held = {memory.HOST: self.tables + self.sizes.of_host(attends=attention == memory.HOST, pipeline=False)}
        held[attention] = held.get(attention, 0) + (
            self.layers.resident_sums[-1]
            + self.kv_sums[-1]
            + memory.head_bytes(self.shape, attention)
            + self.contexts[attention]
            + self.sizes.of_attention(head=True, experts=attention in owners, copies=copies, pipeline=False)
        )
        for owner in owners:
            if owner != attention:
                held[owner] = held.get(owner, 0) + self.sizes.experts + self.contexts[owner]
        return held

    def fill(self, attention: str, owners: Sequence[str], parameters: Parameters) -> list[tuple[int, str]] | None:
        """How many layers' experts each of `owners` gets, which are in the order of their costs.

        Returns:
            Layers and device, in the order of the layers; `None` where not everything fits, or a device would stay
            empty.
        """
        found = self.room(self.held(attention, owners, parameters))
        if found is None:
            return None
        left, pools = found
        sums = self.layers.expert_sums
        taken: list[tuple[int, str]] = []
        start = 0
        for owner in owners:
            pool = self.budgets.pool_of[owner]
            end = self.reach(start, min(left[owner], pools[pool]))
            if end == start:
                return None
            pools[pool] -= sums[end] - sums[start]
            taken.append((end - start, owner))
            start = end
        return taken if start == len(self.layers.moe) else None

    def reach(self, start: int, room: int, end: int | None = None) -> int:
        """The position up to which experts fit in `room`, from the layer at position `start` on."""
        sums = self.layers.expert_sums
        last = len(self.layers.moe) if end is None else end
        return bisect_right(sums, sums[start] + room, start, last + 1) - 1 if room >= 0 else start


def owner_sets(shape: ModelShape, attention: Device, owners: Sequence[Device]) -> list[tuple[str, ...]]:
    """Every set of devices that may hold experts; none for a dense model.

    Of devices that are alike, a set has the first ones: the others would do as well.
    """
    if not shape.is_moe:
        return [()]
    groups: dict[object, list[str]] = {}
    for device in owners:
        own = device.id == attention.id
        groups.setdefault(attention.id if own else likeness(device), []).append(device.id)
    chosen = [
        tuple(device_id for ids, count in zip(groups.values(), counts, strict=True) for device_id in ids[:count])
        for counts in product(*(range(len(ids) + 1) for ids in groups.values()))
    ]
    return sorted((one for one in chosen if one), key=len)


def likeness(device: Device) -> object:
    """What two devices must share to be each other's stand-in: everything but their address. The host has no twin."""
    if device.kind in ("cpu", "igpu"):
        return device.id
    return device.kind, device.name, device.bandwidth_gbps, device.limit_bytes, device.available_bytes


def firsts(devices: Sequence[Device]) -> list[Device]:
    """One device of each kind that has several alike."""
    return list({likeness(device): device for device in reversed(devices)}.values())[::-1]


class OneAttention:
    """All placements with the attention on one device, for one set of parameters."""

    def __init__(self, layers: Layers, table: CostTable, attention: str, parameters: Parameters) -> None:
        self._layers = layers
        self._table = table
        self.attention = attention
        self.parameters = parameters
        fixed = table.fixed(attention, parameters)
        sums = table.attention_sums(attention, parameters)
        self.turn = fixed.turn + sums.turn[-1]
        """Seconds of the work without any experts."""
        self.answer = fixed.answer + sums.answer[-1]

    def owner_cost(self, owner: str) -> float:
        """Seconds of all experts, were they on that device."""
        return self._table.expert_sums(self.attention, owner, self.parameters).turn[-1]

    def candidate(self, filler: Filler, owners: Sequence[str]) -> Candidate | None:
        """The best placement on exactly these owners, given in the order of their costs."""
        taken = filler.fill(self.attention, owners, self.parameters)
        if taken is None:
            return None
        turn, answer, start = self.turn, self.answer, 0
        homes: list[Home] = []
        for count, owner in taken:
            time = self._table.expert_sums(self.attention, owner, self.parameters).between(start, start + count)
            turn += time.turn
            answer += time.answer
            homes.append((start, count, owner))
            start += count
        blocks = ((self.attention, len(self._layers.kind_of)),)
        devices = frozenset((self.attention, *owners))
        return Candidate(turn, answer, blocks, tuple(homes), self.parameters, devices, self._layers.moe)
