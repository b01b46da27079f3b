"""Placements whose attention is divided: blocks of layers, one after the other, each on a device of its own.

It is how a dense model fits devices of which none holds it all, and how GPUs share a model without crossing between
them in every layer. The sizes of the blocks are searched by moving layers between them, from the sizes that fill the
fastest device first and from those in proportion to the room, until no move helps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from math import comb, inf

from app.solver import memory
from app.solver.blocks import BlockCosts, Sizes, placed
from app.solver.placement import Candidate, Filler, likeness
from detectors.facts import Device

FEW = 40
"""Up to so many divisions are all tried."""

_STEPS = (8, 2, 1)


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


class Division:
    """Divisions of one model over devices in one order."""

    def __init__(self, filler: Filler, costs: BlockCosts, order: tuple[str, ...], gpus: frozenset[str]) -> None:
        self._filler = filler
        self._costs = costs
        self._order = order
        self._gpus = [device_id for device_id in order if device_id in gpus]
        self._count = len(filler.layers.kind_of)
        self._seen: dict[Sizes, tuple[float, float]] = {}
        self._least: float | None = None

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
        if missing or seconds >= bound:
            return None
        return placed(self._filler, self._costs, self._order, self._gpus, sizes).candidate(sizes)

    def may_beat(self, bound: float) -> bool:
        """Whether the answers alone could take less than that; a first look, which asks nothing of the speed model."""
        return self._costs.least(self._order, self._filler, answers=True) < bound

    def least(self) -> float:
        """Seconds that no division of this order can beat."""
        if self._least is None:
            self._least = self._costs.least(self._order, self._filler)
        return self._least

    def _has_room(self) -> bool:
        """Whether all bytes are no more than all room, wherever they go."""
        filler = self._filler
        devices = {*self._order, *self._costs.owners}
        pools = {filler.budgets.pool_of[device_id] for device_id in devices}
        room = sum(filler.budgets.pool[pool] for pool in pools)
        return filler.needed <= min(room, sum(filler.budgets.device[device_id] for device_id in devices))

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
            placing = placed(self._filler, self._costs, self._order, self._gpus, sizes)
            found = self._seen[sizes] = (max(0.0, placing.missing), placing.turn)
        return found


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
