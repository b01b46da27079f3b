"""A model's layers by kind, and what a layer of each kind costs on each device.

Costs are sums over layers, and most layers are alike. So the cost of one layer is asked once for each kind and device,
as the difference between a model of two such layers and one of one, and a placement of any size is reckoned from those.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

from app.solver.decode import decode_costs
from app.solver.model import LayerShape, ModelShape
from app.solver.objectives import Work
from app.solver.plan import Parameters, Placement
from app.solver.prefill import prefill_ms
from app.solver.scene import Scene, total_ms

HOST = "cpu"


@dataclass(frozen=True, slots=True)
class Layers:
    """What the search needs of a model's layers, once for each model."""

    kinds: tuple[LayerShape, ...]
    """Every kind without its routed experts."""
    kind_of: tuple[int, ...]
    """Layer -> index of its kind."""
    kind_counts: tuple[int, ...]
    """Kind -> how many layers are of it."""
    experts: tuple[LayerShape, ...]
    """One layer of every size of experts."""
    kind_of_size: tuple[int, ...]
    """Size -> the kind of that layer."""
    moe: tuple[int, ...]
    """The layers with routed experts, in order."""
    size_of: tuple[int, ...]
    """Position in `moe` -> index of the size of its experts."""
    expert_sums: tuple[int, ...]
    """Bytes of the experts of the first n layers of `moe`."""
    resident_sums: tuple[int, ...]
    """Bytes that are not experts, of the first n layers."""


def layers_of(shape: ModelShape) -> Layers:
    """Sort a model's layers."""
    kinds: dict[LayerShape, int] = {}
    bare: dict[int, tuple[LayerShape, int]] = {}
    experts: dict[int, tuple[int, LayerShape, int]] = {}
    kind_of: list[int] = []
    for layer in shape.layers:
        # A model's equal layers are mostly one object: comparing those costs nothing.
        if id(layer) not in bare:
            without = replace(layer, expert_bytes=0)
            bare[id(layer)] = (layer, kinds.setdefault(without, len(kinds)))
        kind = bare[id(layer)][1]
        kind_of.append(kind)
        if layer.expert_bytes:
            experts.setdefault(layer.expert_bytes, (len(experts), layer, kind))
    counts = Counter(kind_of)
    moe = tuple(index for index, layer in enumerate(shape.layers) if layer.expert_bytes)
    return Layers(
        kinds=tuple(kinds),
        kind_of=tuple(kind_of),
        kind_counts=tuple(counts[kind] for kind in range(len(kinds))),
        experts=tuple(layer for _, layer, _ in experts.values()),
        kind_of_size=tuple(kind for _, _, kind in experts.values()),
        moe=moe,
        size_of=tuple(experts[shape.layers[index].expert_bytes][0] for index in moe),
        expert_sums=(0, *accumulate(shape.layers[index].expert_bytes for index in moe)),
        resident_sums=(0, *accumulate(layer.resident_bytes for layer in shape.layers)),
    )


class Time(NamedTuple):
    """Seconds of the work."""

    turn: float
    """Prompts and answers."""
    answer: float
    """Of these, the answers: no choice of ubatch or of copying changes them."""


class Sums(NamedTuple):
    """Seconds of the first n layers, or of the experts of the first n layers that have any."""

    turn: tuple[float, ...]
    answer: tuple[float, ...]

    def between(self, start: int, end: int) -> Time:
        """Of the layers from `start` to before `end`."""
        return Time(self.turn[end] - self.turn[start], self.answer[end] - self.answer[start])


class CostTable:
    """Seconds of the work per layer, by the devices of its attention and its experts."""

    def __init__(self, scene: Scene, layers: Layers, work: Work) -> None:
        self._scene = scene
        self._layers = layers
        self._work = work
        self._shapes: dict[tuple[int, int], Scene] = {}
        self._decode: dict[tuple[object, ...], float] = {}
        self._prefill: dict[tuple[object, ...], float] = {}
        self._attention: dict[tuple[object, ...], Time] = {}
        self._experts: dict[tuple[object, ...], Time] = {}
        self._fixed: dict[tuple[object, ...], Time] = {}
        self._sums: dict[tuple[object, ...], Sums] = {}

    def attention(self, kind: int, device_id: str, parameters: Parameters) -> Time:
        """Of a layer of that kind with all but its routed experts there."""
        key = (kind, device_id, *_variant(parameters, device_id == HOST))
        found = self._attention.get(key)
        if found is None:
            fixed = self.fixed(device_id, parameters)
            one = self._time(kind, -1, 1, device_id, device_id, parameters)
            found = self._attention[key] = Time(one.turn - fixed.turn, one.answer - fixed.answer)
        return found

    def experts(self, size: int, attention_id: str, owner_id: str, parameters: Parameters) -> Time:
        """Of a layer's routed experts of that size on `owner_id`, the way there and back included."""
        key = (size, attention_id, owner_id, *_variant(parameters, HOST in (attention_id, owner_id)))
        found = self._experts.get(key)
        if found is None:
            kind = self._layers.kind_of_size[size]
            bare = self.attention(kind, attention_id, parameters)
            fixed = self.fixed(attention_id, parameters)
            full = self._time(kind, size, 2, attention_id, owner_id, parameters)
            found = self._experts[key] = Time(
                (full.turn - fixed.turn) / 2 - bare.turn, (full.answer - fixed.answer) / 2 - bare.answer
            )
        return found

    def attention_sums(self, device_id: str, parameters: Parameters) -> Sums:
        """Of the first n layers without experts, on that device."""
        key = (device_id, *_variant(parameters, device_id == HOST))
        if key not in self._sums:
            times = [self.attention(kind, device_id, parameters) for kind in range(len(self._layers.kinds))]
            self._sums[key] = _sums([times[kind] for kind in self._layers.kind_of])
        return self._sums[key]

    def expert_sums(self, attention_id: str, owner_id: str, parameters: Parameters) -> Sums:
        """Of the experts of the first n layers that have any, on `owner_id`."""
        key = (attention_id, owner_id, *_variant(parameters, HOST in (attention_id, owner_id)))
        if key not in self._sums:
            sizes = range(len(self._layers.experts))
            times = [self.experts(size, attention_id, owner_id, parameters) for size in sizes]
            self._sums[key] = _sums([times[size] for size in self._layers.size_of])
        return self._sums[key]

    def fixed(self, head_id: str, parameters: Parameters) -> Time:
        """Of a model without layers: the output head, and what each step costs whatever it computes."""
        key = (head_id, *_variant(parameters, head_id == HOST))
        found = self._fixed.get(key)
        if found is None:
            one, two = (self._time(0, -1, count, head_id, head_id, parameters) for count in (1, 2))
            found = self._fixed[key] = Time(2 * one.turn - two.turn, 2 * one.answer - two.answer)
        return found

    def _time(self, kind: int, size: int, count: int, attention: str, owner: str, parameters: Parameters) -> Time:
        """Of a model of `count` such layers; `size` -1: without experts."""
        layer = self._layers.kinds[kind] if size < 0 else self._layers.experts[size]
        name = (kind if size < 0 else -1 - size, count)
        scene = self._shapes.get(name)
        if scene is None:
            scene = self._shapes[name] = replace(self._scene, shape=replace(self._scene.shape, layers=(layer,) * count))
        placement = Placement((attention,) * count, (owner,) * count, attention)
        variant = _variant(parameters, HOST in (attention, owner))
        key = (name, attention, owner, *variant[2:])
        step = self._decode.get(key)
        if step is None:
            costs = decode_costs(scene, placement, parameters, context=self._work.depth, batch=self._work.batch)
            step = self._decode[key] = total_ms(costs, scene.coefficients)
        answer = self._work.seconds(0.0, step)
        if not self._work.prompt_tokens:
            return Time(answer, answer)
        whole = (*variant[:2], *key)
        prompt = self._prefill.get(whole)
        if prompt is None:
            prompt = prefill_ms(scene, placement, parameters, prompt_tokens=self._work.prompt_tokens)
            self._prefill[whole] = prompt
        return Time(self._work.seconds(prompt, step), answer)


def _sums(times: list[Time]) -> Sums:
    return Sums((0.0, *accumulate(time.turn for time in times)), (0.0, *accumulate(time.answer for time in times)))


def _variant(parameters: Parameters, on_host: bool) -> tuple[object, ...]:
    """What of the parameters changes a layer's costs: the first two those of prompts alone."""
    host = (parameters.no_host, parameters.load_mode) if on_host else ()
    return parameters.ubatch, on_host and parameters.op_offload, parameters.kv_type_k, *host
