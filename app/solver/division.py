"""Placements whose attention is divided: blocks of layers, one after the other, each on a device of its own.

It is how a dense model fits devices of which none holds it all, and how GPUs share a model without crossing between
them in every layer. The sizes of the blocks are searched by moving layers between them, from the sizes that fill the
fastest device first and from those in proportion to the room, until no move helps.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, combinations, pairwise
from math import comb, inf

from app.solver import memory
from app.solver.layers import CostTable, Layers, Sums, Time
from app.solver.placement import Candidate, Filler, Home, likeness
from app.solver.plan import Parameters
from detectors.facts import Device

FEW = 40
"""Up to so many divisions are all tried."""

_STEPS = (8, 2, 1)

Sizes = tuple[int, ...]
"""Layers of each block."""


def device_orders(devices: Sequence[Device], speed: Callable[[str], float]) -> Iterator[tuple[str, ...]]:
    """Sets of two or more devices in the orders worth trying: the host first, then the slowest or the fastest.

    The last one has the output head, the first GPU computes prompts of experts in host memory. Which comes first
    matters little, so that sets of more than two are tried in one order: slowest first. Devices that are alike are not
    tried in each other's place.

    Args:
        devices: those that may be used.
        speed: seconds of all layers on a device.
    """
    seen = set()
    for count in range(2, len(devices) + 1):
        for chosen in combinations(devices, count):
            others = sorted((d for d in chosen if d.id != memory.HOST), key=lambda d: -speed(d.id))
            host = tuple(d.id for d in chosen if d.id == memory.HOST)
            for order in (others, others[::-1]) if count == 2 else (others,):
                alike = (host, tuple(likeness(device) for device in order))
                if alike not in seen:
                    seen.add(alike)
                    yield (*host, *(d.id for d in order))


class BlockCosts:
    """What a division's parts cost, for one set of parameters: shared by all orders of devices."""

    def __init__(self, layers: Layers, table: CostTable, parameters: Parameters, owners: Sequence[str]) -> None:
        self.layers = layers
        self.table = table
        self.parameters = parameters
        self.owners = owners
        self._homes: dict[str, list[str]] = {}
        self._attention: dict[str, Sums] = {}
        self._experts: dict[tuple[str, str], Sums] = {}

    def sums(self, device_id: str) -> Sums:
        """Seconds of the first n layers on that device, without experts."""
        found = self._attention.get(device_id)
        if found is None:
            found = self._attention[device_id] = self.table.attention_sums(device_id, self.parameters)
        return found

    def experts(self, device_id: str, owner: str) -> Sums:
        """Seconds of the experts of the first n layers on `owner`, with the attention on `device_id`."""
        found = self._experts.get((device_id, owner))
        if found is None:
            found = self._experts[device_id, owner] = self.table.expert_sums(device_id, owner, self.parameters)
        return found

    def homes(self, device_id: str) -> list[str]:
        """The devices that experts of its layers may go to, the cheapest first; never itself."""
        if device_id not in self._homes:
            others = [owner for owner in self.owners if owner != device_id]
            self._homes[device_id] = sorted(others, key=lambda owner: self.experts(device_id, owner).turn[-1])
        return self._homes[device_id]

    def least(self, order: Sequence[str], filler: Filler) -> float:
        """Seconds that no division can beat: layers, and their experts, where they cost least while there is room.

        Attention and experts each get all the room, and parts of layers are placed: what is left over of a device does
        not matter here.
        """
        rooms = {
            device_id: min(room, filler.budgets.pool[filler.budgets.pool_of[device_id]])
            for device_id, room in filler.budgets.device.items()
        }
        layers, experts = len(self.layers.kind_of), len(self.layers.moe)
        size = (self.layers.resident_sums[-1] + filler.kv_sums[-1]) / layers
        found = self.table.fixed(order[-1], self.parameters).turn + _filled(
            layers, [(self.sums(device_id).turn[-1] / layers, rooms[device_id] / max(1.0, size)) for device_id in order]
        )
        if experts:
            size = self.layers.expert_sums[-1] / experts
            owners = {*order, *self.owners}
            each = {
                owner: min(self.experts(device_id, owner).turn[-1] for device_id in order) / experts for owner in owners
            }
            found += _filled(experts, [(each[owner], rooms[owner] / size) for owner in owners])
        return found


def _filled(count: float, places: list[tuple[float, float]]) -> float:
    """The least sum of costs for `count` things in places of (cost of one, how many fit)."""
    found = 0.0
    for cost, fitting in sorted(places):
        taken = min(count, max(0.0, fitting))
        found += taken * cost
        count -= taken
    return found


class Division:
    """Divisions of one model over devices in one order."""

    def __init__(self, filler: Filler, costs: BlockCosts, order: tuple[str, ...], gpus: frozenset[str]) -> None:
        self._filler = filler
        self._costs = costs
        self._order = order
        self._gpus = [device_id for device_id in order if device_id in gpus]
        self._count = len(filler.layers.kind_of)
        self._seen: dict[Sizes, tuple[float, float]] = {}

    def best(self, bound: float = inf) -> Candidate | None:
        """The fastest division that fits and takes less than `bound` seconds; `None` where none does."""
        parts = len(self._order)
        if parts > self._count or not self._has_room() or self.least() >= bound:
            return None
        if comb(self._count - 1, parts - 1) <= FEW:
            sizes = min(_compositions(self._count, parts), key=self._score)
        else:
            sizes = self._climbed(min(self._seeds(), key=self._score))
        missing, seconds = self._score(sizes)
        return _Placing(self._filler, self._costs, self._order, self._gpus).candidate(sizes) if (
            not missing and seconds < bound
        ) else None  # fmt: skip

    def least(self) -> float:
        """Seconds that no division of this order can beat."""
        return self._costs.least(self._order, self._filler)

    def _has_room(self) -> bool:
        """Whether all bytes are no more than all room, wherever they go."""
        filler = self._filler
        devices = {*self._order, *self._costs.owners}
        pools = {filler.budgets.pool_of[device_id] for device_id in devices}
        room = sum(filler.budgets.pool[pool] for pool in pools)
        needed = filler.layers.resident_sums[-1] + filler.layers.expert_sums[-1] + filler.kv_sums[-1]
        return needed <= min(room, sum(filler.budgets.device[device_id] for device_id in devices))

    def _seeds(self) -> Iterator[Sizes]:
        """Shares by room, and the fastest device as full as it gets with the others in turn."""
        rooms = [max(1, self._filler.budgets.device[device_id]) for device_id in self._order]
        yield self._exactly([max(1, round(self._count * room / sum(rooms))) for room in rooms])
        weight = max(1, self._filler.shape.file_bytes)
        speeds = [self._costs.sums(device_id).turn[-1] for device_id in self._order]
        left, wanted = self._count, [1] * len(rooms)
        for index in sorted(range(len(rooms)), key=lambda index: speeds[index]):
            wanted[index] = max(1, min(left, int(self._count * rooms[index] / weight)))
            left = max(0, left - wanted[index])
        yield self._exactly(wanted)

    def _exactly(self, sizes: list[int]) -> Sizes:
        """These sizes made to add up to all layers, none empty."""
        while (over := sum(sizes) - self._count) != 0:
            index = max(range(len(sizes)), key=lambda index: sizes[index])
            sizes[index] -= min(over, max(1, sizes[index] - 1)) if over > 0 else over
        return tuple(sizes)

    def _climbed(self, sizes: Sizes) -> Sizes:
        for step in _STEPS:
            while True:
                better = min(_moves(sizes, step), key=self._score, default=sizes)
                if self._score(better) >= self._score(sizes):
                    break
                sizes = better
        return sizes

    def _score(self, sizes: Sizes) -> tuple[float, float]:
        """Bytes that are missing, then seconds: what fits comes first."""
        found = self._seen.get(sizes)
        if found is None:
            placing = _Placing(self._filler, self._costs, self._order, self._gpus)
            placing.place(sizes)
            found = self._seen[sizes] = (max(0.0, placing.missing), placing.turn)
        return found


class _Placing:
    """One division being placed: what is left where, and what it costs so far."""

    def __init__(self, filler: Filler, costs: BlockCosts, order: tuple[str, ...], gpus: Sequence[str]) -> None:
        self.filler = filler
        self.costs = costs
        self.order = order
        self.gpus = gpus
        self.left = dict(filler.budgets.device)
        self.pools = dict(filler.budgets.pool)
        self.missing = 0.0
        fixed = costs.table.fixed(order[-1], costs.parameters)
        self.turn, self.answer = fixed.turn, fixed.answer
        self.homes: list[Home] = []
        self.opened = set(order)

    def candidate(self, sizes: Sizes) -> Candidate:
        """The candidate with blocks of these sizes."""
        self.place(sizes)
        devices = frozenset((*self.order, *(owner for _, _, owner in self.homes)))
        blocks = tuple(zip(self.order, sizes, strict=True))
        moe = self.filler.layers.moe
        return Candidate(self.turn, self.answer, blocks, tuple(self.homes), self.costs.parameters, devices, moe)

    def place(self, sizes: Sizes) -> None:
        """Put every layer with its block's device, its experts too where there is room, and the rest elsewhere."""
        edges = (0, *accumulate(sizes))
        moe = self.filler.layers.moe
        self._draw(memory.HOST, self.filler.tables + self.filler.sizes.of_host(alone=False))
        for device_id, (start, end) in zip(self.order, pairwise(edges), strict=True):
            self._attend(device_id, start, end)
        rest = []
        for device_id, edge in zip(self.order, pairwise(edges), strict=True):
            start, end = (bisect_left(moe, layer) for layer in edge)
            kept = self.filler.reach(start, self._room(device_id), end)
            if kept > start:
                self._take(device_id, device_id, start, kept)
            if kept < end:
                rest.append((device_id, kept, end))
        for device_id, start, end in rest:
            self._away(device_id, start, end)

    def _room(self, device_id: str) -> int:
        return min(self.left[device_id], self.pools[self.filler.budgets.pool_of[device_id]])

    def _draw(self, device_id: str, size: int) -> None:
        pool = self.filler.budgets.pool_of[device_id]
        self.left[device_id] -= size
        self.pools[pool] -= size
        self.missing = max(self.missing, -self.left[device_id], -self.pools[pool])

    def _attend(self, device_id: str, start: int, end: int) -> None:
        filler, head = self.filler, device_id == self.order[-1]
        self._add(self.costs.sums(device_id).between(start, end))
        pipeline = len(self.gpus) == len(self.order)
        compute = filler.sizes.of_attention(head=head, experts=bool(filler.layers.moe), copies=False, pipeline=pipeline)
        resident, cache = filler.layers.resident_sums, filler.kv_sums
        weights = resident[end] - resident[start] + (memory.head_bytes(filler.shape, device_id) if head else 0)
        self._draw(device_id, weights + cache[end] - cache[start] + filler.contexts[device_id] + compute)

    def _away(self, device_id: str, start: int, end: int) -> None:
        for owner in self.costs.homes(device_id):
            opening = 0 if owner in self.opened else self.filler.sizes.experts + self.filler.contexts[owner]
            kept = self.filler.reach(start, self._room(owner) - opening, end)
            if kept == start:
                continue
            parameters = self.costs.parameters
            if opening and owner == memory.HOST and self.gpus and parameters.op_offload and not parameters.no_host:
                self._draw(self.gpus[0], self.filler.sizes.staging)
            self._draw(owner, opening)
            self.opened.add(owner)
            self._take(device_id, owner, start, kept)
            self.homes.append((start, kept - start, owner))
            start = kept
        sums = self.filler.layers.expert_sums
        self.missing += sums[end] - sums[start]

    def _take(self, device_id: str, owner: str, start: int, end: int) -> None:
        sums = self.filler.layers.expert_sums
        self._draw(owner, sums[end] - sums[start])
        self._add(self.costs.experts(device_id, owner).between(start, end))

    def _add(self, time: Time) -> None:
        self.turn += time.turn
        self.answer += time.answer


def _moves(sizes: Sizes, step: int) -> Iterator[Sizes]:
    """The division with `step` layers moved from one block to another, in every way."""
    for giver, taker in ((a, b) for a in range(len(sizes)) for b in range(len(sizes)) if a != b):
        if sizes[giver] > step:
            moved = list(sizes)
            moved[giver] -= step
            moved[taker] += step
            yield tuple(moved)


def _compositions(total: int, parts: int) -> Iterator[Sizes]:
    """Every way to write `total` as a sum of that many positive numbers."""
    for cuts in combinations(range(1, total), parts - 1):
        yield tuple(right - left for left, right in pairwise((0, *cuts, total)))
