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

Row = tuple[int, str, str]
"""One layer of a model to be timed: its kind, or -1 - its size of experts; the devices of attention and experts."""


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

    def less(self, other: Time) -> Time:
        """What is left without `other`."""
        return Time(self.turn - other.turn, self.answer - other.answer)


class Sums(NamedTuple):
    """Seconds of the first n layers, or of the experts of the first n layers that have any."""

    turn: tuple[float, ...]
    answer: tuple[float, ...]

    def between(self, start: int, end: int) -> Time:
        """Of the layers from `start` to before `end`."""
        return Time(self.turn[end] - self.turn[start], self.answer[end] - self.answer[start])


class CostTable:
    """Seconds of the work per layer, by the devices of its attention and its experts.

    Where layers are divided, the first GPU computes prompts of all weights in host memory, whoever has the attention:
    `gpu` names it, empty where there is none.
    """

    def __init__(self, scene: Scene, layers: Layers, work: Work) -> None:
        self._scene = scene
        self._layers = layers
        self._work = work
        self._shapes: dict[tuple[int, ...], Scene] = {}
        self._decode: dict[tuple[object, ...], float] = {}
        self._prefill: dict[tuple[object, ...], float] = {}
        self._attention: dict[tuple[object, ...], Time] = {}
        self._experts: dict[tuple[object, ...], Time] = {}
        self._fixed: dict[tuple[object, ...], Time] = {}
        self._sums: dict[tuple[object, ...], Sums] = {}

    def attention(self, kind: int, device_id: str, parameters: Parameters, gpu: str = "") -> Time:
        """Of a layer of that kind with all but its routed experts there."""
        gpu = gpu if device_id == HOST else ""
        key = (kind, device_id, gpu, *_variant(parameters, device_id, gpu))
        found = self._attention.get(key)
        if found is None:
            row = (kind, device_id, device_id)
            if gpu:
                other = (0, gpu, gpu)
                found = self._time((row, other), parameters).less(self._time((other,), parameters))
            else:
                found = self._time((row,), parameters).less(self.fixed(device_id, parameters))
            self._attention[key] = found
        return found

    def experts(self, size: int, attention_id: str, owner_id: str, parameters: Parameters, gpu: str = "") -> Time:
        """Of a layer's routed experts of that size on `owner_id`, the way there and back included."""
        gpu = gpu if HOST in (attention_id, owner_id) and gpu != attention_id else ""
        key = (size, attention_id, owner_id, gpu, *_variant(parameters, attention_id, owner_id, gpu))
        found = self._experts.get(key)
        if found is None:
            kind = self._layers.kind_of_size[size]
            row = (-1 - size, attention_id, owner_id)
            if gpu:
                first, bare = (0, gpu, gpu), (kind, attention_id, attention_id)
                with_it, without = ((one, first) if attention_id == HOST else (first, one) for one in (row, bare))
                found = self._time(with_it, parameters).less(self._time(without, parameters))
            else:
                full = self._time((row, row), parameters).less(self.fixed(attention_id, parameters))
                one = self.attention(kind, attention_id, parameters)
                found = Time(full.turn / 2 - one.turn, full.answer / 2 - one.answer)
            self._experts[key] = found
        return found

    def attention_sums(self, device_id: str, parameters: Parameters, gpu: str = "") -> Sums:
        """Of the first n layers without experts, on that device."""
        key = (device_id, gpu, *_variant(parameters, device_id, gpu))
        if key not in self._sums:
            times = [self.attention(kind, device_id, parameters, gpu) for kind in range(len(self._layers.kinds))]
            self._sums[key] = _sums([times[kind] for kind in self._layers.kind_of])
        return self._sums[key]

    def expert_sums(self, attention_id: str, owner_id: str, parameters: Parameters, gpu: str = "") -> Sums:
        """Of the experts of the first n layers that have any, on `owner_id`."""
        key = (attention_id, owner_id, gpu, *_variant(parameters, attention_id, owner_id, gpu))
        if key not in self._sums:
            sizes = range(len(self._layers.experts))
            times = [self.experts(size, attention_id, owner_id, parameters, gpu) for size in sizes]
            self._sums[key] = _sums([times[size] for size in self._layers.size_of])
        return self._sums[key]

    def fixed(self, head_id: str, parameters: Parameters) -> Time:
        """Of a model without layers: the output head, and what each step costs whatever it computes."""
        key = (head_id, *_variant(parameters, head_id))
        found = self._fixed.get(key)
        if found is None:
            row = (0, head_id, head_id)
            one, two = self._time((row,), parameters), self._time((row, row), parameters)
            found = self._fixed[key] = Time(2 * one.turn - two.turn, 2 * one.answer - two.answer)
        return found

    def _time(self, rows: tuple[Row, ...], parameters: Parameters) -> Time:
        """Of a model of these layers, with the head on the last one's device."""
        names = tuple(row[0] for row in rows)
        scene = self._shapes.get(names)
        if scene is None:
            layers = tuple(self._layers.kinds[n] if n >= 0 else self._layers.experts[-1 - n] for n in names)
            scene = self._shapes[names] = replace(self._scene, shape=replace(self._scene.shape, layers=layers))
        placement = Placement(tuple(row[1] for row in rows), tuple(row[2] for row in rows), rows[-1][1])
        variant = _variant(parameters, *(name for row in rows for name in row[1:]))
        key = (rows, *variant[2:])
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


def _variant(parameters: Parameters, *devices: str) -> tuple[object, ...]:
    """What of the parameters changes costs of layers on these devices (empty: none): first what only prompts feel.

    How the host's weights are held matters where a GPU is there to compute with them.
    """
    mixed = HOST in devices and any(device not in ("", HOST) for device in devices)
    host = (parameters.no_host, parameters.load_mode) if mixed else ()
    return parameters.ubatch, mixed and parameters.op_offload, parameters.kv_type_k, *host
