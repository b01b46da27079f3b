"""Sums over runs of layers, prepared once for a model: a search asks for thousands of placements of the same one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, groupby
from operator import add, sub
from typing import NamedTuple

from app.solver import constants as k
from app.solver.model import LayerShape, ModelShape
from app.solver.plan import Placement

_KEPT = 32
"""Models whose sums are kept: more than a board shows at once would only cost memory."""

WIDE_HEAD = 128
"""Elements of a head beyond which kernels of attention work with other tiles: 256 for Qwen3.5, 512 for Gemma 4."""


class LayerSums(NamedTuple):
    """What a run of layers adds up to. Cache rows are elements for each token in the cache."""

    resident_bytes: float
    resident_giga: float
    """Billions of weights of those."""
    state_bytes: float
    """Recurrent state of one sequence."""
    keys: float
    values: float
    window_keys: float
    window_values: float
    """The same of layers with a sliding window."""
    row: float
    """Elements of key and value that one query head of every layer attends to, for each token."""
    window_row: float
    latent_row: float
    """The part of `row` that is of a latent cache (MLA)."""
    attention_layers: float
    """Layers of attention or a short convolution, and half a layer for each dense network without experts beside it."""
    latent_layers: float
    recurrent_layers: float
    expert_layers: float
    expert_bytes: float
    expert_giga: float
    """Billions of weights of all routed experts."""
    layers: float
    flops: float = 0.0
    """Operations of attention for each token that one token looks at, heads of up to 128 elements."""
    wide_flops: float = 0.0
    """The same of wider heads."""
    latent_flops: float = 0.0
    """The same with a latent cache (MLA), and of what an indexer or compressed rows take besides."""
    window_flops: float = 0.0
    wide_window_flops: float = 0.0
    """The same of layers with a sliding window."""
    reread_rows: float = 0.0
    """Cached elements for each token, of layers that see everything with heads of up to 256 elements."""
    reread_layers: float = 0.0
    """How many those are."""

    def __add__(self, other: LayerSums) -> LayerSums:  # type: ignore[override]
        """Both runs together."""
        return LayerSums(*map(add, self, other))

    def __sub__(self, other: LayerSums) -> LayerSums:
        """The layers of this run that are not of the other, its beginning."""
        return LayerSums(*map(sub, self, other))


class Run(NamedTuple):
    """Neighbouring layers whose attention and experts are each on one device."""

    attention: str
    experts: str
    sums: LayerSums


def runs_of(shape: ModelShape, placement: Placement) -> Iterator[Run]:
    """The placement as runs of layers, in their order."""
    prefix = _prefix(shape)
    start = 0
    for (attention, experts), same in groupby(zip(placement.attention, placement.experts, strict=True)):
        end = start + sum(1 for _ in same)
        yield Run(attention, experts, prefix[end] - prefix[start])
        start = end


def heads_of(shape: ModelShape) -> tuple[int, int, bool]:
    """KV heads and key length of the layers that attend to everything, and whether their cache is latent."""
    return _known(shape).heads


class _Prepared(NamedTuple):
    shape: ModelShape
    prefix: list[LayerSums]
    heads: tuple[int, int, bool]


_cache: dict[int, _Prepared] = {}


def _prefix(shape: ModelShape) -> list[LayerSums]:
    return _known(shape).prefix


def _known(shape: ModelShape) -> _Prepared:
    # By identity: to hash a model takes longer than to predict it.
    known = _cache.get(id(shape))
    if known is not None and known.shape is shape:
        return known
    first = LayerSums(*(0.0,) * len(LayerSums._fields))
    rows = (_of(layer, shape) for layer in shape.layers)
    prefix = list(accumulate(rows, add, initial=first))
    if len(_cache) >= _KEPT:
        _cache.clear()
    caching = [layer for layer in shape.layers if layer.kv_heads and layer.kind in ("full", "swa")]
    one = next((layer for layer in caching if layer.kind == "full"), caching[0] if caching else None)
    heads = (one.kv_heads, one.key_length, is_latent(one)) if one is not None else (0, 0, False)
    _cache[id(shape)] = _Prepared(shape, prefix, heads)
    return _cache[id(shape)]


def _of(layer: LayerShape, shape: ModelShape) -> LayerSums:
    caches = layer.kind in ("full", "swa")
    windowed = layer.kind == "swa" and shape.window > 0
    keys = float(layer.kv_heads * layer.key_length) if caches else 0.0
    values = float(layer.kv_heads * layer.value_length) if caches else 0.0
    row = float(layer.key_length + (layer.value_length or layer.key_length)) if caches else 0.0
    latent = is_latent(layer)
    experts = layer.expert_bytes > 0
    convolution = layer.kind == "recurrent" and layer.state_bytes < k.CONVOLUTION_STATE_BYTES
    dense = 0.5 if layer.dense_bytes and not experts else 0.0
    flops = float(layer.attention_flops or 2 * shape.heads * row) if caches else 0.0
    wide = layer.key_length > WIDE_HEAD
    reread = caches and not (windowed or latent) and layer.key_length <= 2 * WIDE_HEAD
    weights = layer.resident_weights or layer.resident_bytes * 8 / k.BITS_PER_RESIDENT_WEIGHT
    routed = layer.expert_weights or (shape.expert_count * 3 * shape.d_model * shape.expert_ff if experts else 0)
    return LayerSums(
        resident_bytes=layer.resident_bytes,
        resident_giga=weights / 1e9,
        state_bytes=layer.state_bytes if layer.kind == "recurrent" else 0.0,
        keys=(0.0 if windowed else keys) + layer.index_length,
        values=0.0 if windowed else values,
        window_keys=keys if windowed else 0.0,
        window_values=values if windowed else 0.0,
        row=0.0 if windowed else row,
        window_row=row if windowed else 0.0,
        latent_row=row if latent and not windowed else 0.0,
        attention_layers=(1.0 if caches or convolution else 0.0) + dense,
        latent_layers=1.0 if latent else 0.0,
        recurrent_layers=1.0 if layer.kind == "recurrent" and not convolution else 0.0,
        expert_layers=1.0 if experts else 0.0,
        expert_bytes=layer.expert_bytes,
        expert_giga=routed / 1e9,
        layers=1.0,
        flops=0.0 if windowed or latent or wide else flops,
        wide_flops=flops if wide and not (windowed or latent) else 0.0,
        latent_flops=(flops if latent and not windowed else 0.0) + 2 * shape.heads * layer.index_length,
        window_flops=flops if windowed and not wide else 0.0,
        wide_window_flops=flops if windowed and wide else 0.0,
        reread_rows=keys + values if reread else 0.0,
        reread_layers=1.0 if reread else 0.0,
    )


def is_latent(layer: LayerShape) -> bool:
    """Whether all query heads share one cached row that is key and value at once (MLA)."""
    return layer.kind in ("full", "swa") and layer.kv_heads == 1 and layer.value_length == 0 and layer.key_length > 0
