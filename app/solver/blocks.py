"""One division of a model's layers between devices: what is left where, and what it costs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate, pairwise

from app.solver import memory
from app.solver.layers import CostTable, Layers, Sums, Time
from app.solver.placement import Candidate, Filler, Home
from app.solver.plan import Parameters

Sizes = tuple[int, ...]
"""Layers of each block."""


class BlockCosts:
    """What a division's parts cost, for one set of parameters and one first GPU: shared by orders of devices."""

    def __init__(
        self, layers: Layers, table: CostTable, parameters: Parameters, owners: Sequence[str], gpu: str
    ) -> None:
        self.layers = layers
        self.table = table
        self.parameters = parameters
        self.owners = owners
        self.gpu = gpu
        self._homes: dict[str, list[str]] = {}
        self._attention: dict[str, Sums] = {}
        self._experts: dict[tuple[str, str], Sums] = {}

    def sums(self, device_id: str) -> Sums:
        """Seconds of the first n layers on that device, without experts."""
        found = self._attention.get(device_id)
        if found is None:
            found = self._attention[device_id] = self.table.attention_sums(device_id, self.parameters, self.gpu)
        return found

    def experts(self, device_id: str, owner: str) -> Sums:
        """Seconds of the experts of the first n layers on `owner`, with the attention on `device_id`."""
        found = self._experts.get((device_id, owner))
        if found is None:
            found = self._experts[device_id, owner] = self.table.expert_sums(
                device_id, owner, self.parameters, self.gpu
            )
        return found

    def homes(self, device_id: str) -> list[str]:
        """The devices that experts of its layers may go to, the cheapest first; never itself."""
        if device_id not in self._homes:
            others = [owner for owner in self.owners if owner != device_id]
            self._homes[device_id] = sorted(others, key=lambda owner: self.experts(device_id, owner).turn[-1])
        return self._homes[device_id]

    def least(self, order: Sequence[str], filler: Filler, *, answers: bool = False) -> float:
        """Seconds that no division can beat: layers, and their experts, where they cost least while there is room.

        Attention and experts each get all the room, and parts of layers are placed: what is left over of a device does
        not matter here.

        Args:
            order: the devices.
            filler: their room.
            answers: of the answers alone, which are known before it is known who computes prompts.
        """
        rooms = {
            device_id: min(room, filler.budgets.pool[filler.budgets.pool_of[device_id]])
            for device_id, room in filler.budgets.device.items()
        }
        table, parameters = self.table, self.parameters

        def attention(device_id: str) -> float:
            return table.attention_sums(device_id, parameters).answer[-1] if answers else self.sums(device_id).turn[-1]

        def expert(device_id: str, owner: str) -> float:
            if answers:
                return table.expert_sums(device_id, owner, parameters).answer[-1]
            return self.experts(device_id, owner).turn[-1]

        layers, experts = len(self.layers.kind_of), len(self.layers.moe)
        size = (self.layers.resident_sums[-1] + filler.kv_sums[-1]) / layers
        fixed = table.fixed(order[-1], parameters)
        found = fixed.answer if answers else fixed.turn
        found += _filled(layers, [(attention(one) / layers, rooms[one] / max(1.0, size)) for one in order])
        if experts:
            size = self.layers.expert_sums[-1] / experts
            owners = {*order, *self.owners}
            each = {owner: min(expert(one, owner) for one in order) / experts for owner in owners}
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


class Placing:
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
        """What was placed, with blocks of these sizes."""
        devices = frozenset((*self.order, *(owner for _, _, owner in self.homes)))
        blocks = tuple(zip(self.order, sizes, strict=True))
        moe = self.filler.layers.moe
        return Candidate(self.turn, self.answer, blocks, tuple(self.homes), self.costs.parameters, devices, moe)

    def place(self, sizes: Sizes, *, pipeline: bool) -> None:
        """Put every layer with its block's device, its experts too where there is room, and the rest elsewhere.

        Args:
            sizes: of the blocks.
            pipeline: the GPUs are to work on several ubatches at once, which takes a copy of the inputs for each.
        """
        edges = (0, *accumulate(sizes))
        moe = self.filler.layers.moe
        self._draw(
            memory.HOST,
            self.filler.tables + self.filler.sizes.of_host(attends=memory.HOST in self.order, pipeline=pipeline),
        )
        for device_id, (start, end) in zip(self.order, pairwise(edges), strict=True):
            self._attend(device_id, start, end, pipeline=pipeline)
        if memory.HOST in self.order and moe:
            self._stage()
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

    def _stage(self) -> None:
        """The first GPU's room for a tensor of the host's experts."""
        if self.gpus and memory.copies_experts(self.costs.parameters):
            self._draw(self.gpus[0], self.filler.sizes.staging)

    def _attend(self, device_id: str, start: int, end: int, *, pipeline: bool) -> None:
        filler, head = self.filler, device_id == self.order[-1]
        self._add(self.costs.sums(device_id).between(start, end))
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
            if opening and owner == memory.HOST:
                self._stage()
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


def placed(filler: Filler, costs: BlockCosts, order: tuple[str, ...], gpus: Sequence[str], sizes: Sizes) -> Placing:
    """A division with blocks of these sizes.

    Devices other than the host work as a pipeline, but only where no experts are away from their attention: `-ot` rules
    it out.
    """
    placing = Placing(filler, costs, order, gpus)
    pipeline = memory.HOST not in order
    if pipeline and filler.layers.moe and filler.needed > sum(filler.budgets.device[device_id] for device_id in order):
        placing.place(sizes, pipeline=False)
        return placing
    placing.place(sizes, pipeline=pipeline)
    if pipeline and (placing.homes or placing.missing > 0):
        apart = Placing(filler, costs, order, gpus)
        apart.place(sizes, pipeline=False)
        if apart.homes:
            return apart
    return placing
