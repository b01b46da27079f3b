"""Turns a GGUF header into the `ModelShape` that the solver works with: exact bytes by class, KV geometry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod

from app.errors import ModelError
from app.models.families import FAMILIES
from app.models.ggml_types import FILE_TYPES
from app.models.gguf import GgufHeader, TensorInfo
from app.models.keys import Keys
from app.models.memory_geometry import LayerMemory, layer_memories, window_tokens
from app.models.tensor_classes import TensorClass, place_of
from app.solver.model import LayerShape, ModelShape

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS, llama.cpp `src/llama-hparams.h`."""
_GUESSED = 1024
"""Added to `general.file_type` where the converter guessed it (LLAMA_FTYPE_GUESSED)."""


def shape_of(header: GgufHeader) -> ModelShape:
    """The shape of a model. NextN (multi-token prediction) layers, which llama.cpp skips, are left out.

    Raises:
        ModelError: the architecture is not known, or keys or tensors that every model has are missing.
    """
    keys = Keys(header)
    architecture = header.architecture
    if architecture not in FAMILIES:
        raise ModelError(
            f"{header.path} has the architecture {architecture or '(none)'}, which moetune does not know",
            hint=f"Known are {', '.join(FAMILIES)}.",
        )
    count = _trunk_layers(keys)
    weights, outside = _bytes_by_class(header.tensors, count)
    _check_complete(header, weights, outside)
    d_model = keys.count("embedding_length")
    memories = layer_memories(keys, FAMILIES[architecture], count, d_model)
    tied = not any(tensor.name == "output.weight" for tensor in header.tensors)
    expert_count, expert_used, expert_ff = _experts(keys, header.tensors, count)
    return ModelShape(
        name=_name(header),
        architecture=architecture,
        layers=tuple(
            _layer(classes, elements, memory)
            for classes, elements, memory in zip(weights, _elements(header.tensors, count), memories, strict=True)
        ),
        embedding_bytes=outside["embedding"],
        lookup_bytes=outside["lookup"],
        head_bytes=outside["head"] + (outside["embedding"] if tied else 0),
        head_tied=tied,
        vocabulary=_vocabulary(header.tensors),
        d_model=d_model,
        heads=max(keys.per_layer("attention.head_count", count)),
        expert_count=expert_count,
        expert_used=expert_used,
        expert_ff=expert_ff,
        window=window_tokens(keys, FAMILIES[architecture]),
        context_length=keys.count("context_length", 0),
        file_bytes=header.file_bytes,
        quantization=_quantization(header),
        split_count=len(header.files) or 1,
    )


def unloaded_bytes(header: GgufHeader) -> int:
    """Bytes of tensors that are in the file but that llama.cpp leaves there: the NextN layers'.

    Raises:
        ModelError: the file does not say how many layers it has.
    """
    count = _trunk_layers(Keys(header))
    layers = ((place_of(tensor.name)[0], tensor.bytes) for tensor in header.tensors)
    return sum(size for layer, size in layers if layer is not None and layer >= count)


def _trunk_layers(keys: Keys) -> int:
    total, ahead = keys.count("block_count"), keys.count("nextn_predict_layers", 0)
    if not 0 < total <= MAX_LAYERS or ahead >= total:
        raise keys.refused("block_count", f"is {total} (with {ahead} NextN layers), 1 to {MAX_LAYERS} can be")
    return total - ahead


def _bytes_by_class(
    tensors: Sequence[TensorInfo], count: int
) -> tuple[tuple[Counter[TensorClass], ...], Counter[TensorClass]]:
    """Bytes by class, per layer of the trunk and for the whole model."""
    weights: tuple[Counter[TensorClass], ...] = tuple(Counter() for _ in range(count))
    outside: Counter[TensorClass] = Counter()
    for tensor in tensors:
        layer, purpose = place_of(tensor.name)
        if layer is None:
            outside[purpose] += tensor.bytes
        elif layer < count:
            weights[layer][purpose] += tensor.bytes
    return weights, outside


def _elements(tensors: Sequence[TensorInfo], count: int) -> list[tuple[int, int]]:
    """Elements of each layer of the trunk: of the routed experts, and of everything else."""
    found = [[0, 0] for _ in range(count)]
    for tensor in tensors:
        layer, purpose = place_of(tensor.name)
        if layer is not None and layer < count:
            found[layer][purpose != "experts"] += prod(tensor.shape)
    return [(experts, resident) for experts, resident in found]


def _check_complete(header: GgufHeader, weights: Sequence[Counter[TensorClass]], outside: Counter[TensorClass]) -> None:
    bare = [str(index) for index, classes in enumerate(weights) if not classes]
    missing = f"no tensors of layer {bare[0]}" if bare else "" if outside["embedding"] else "no token_embd.weight"
    if missing:
        raise ModelError(
            f"{header.path} has {missing}",
            hint="It holds only part of a model (an adapter, a vocabulary, a draft head); give the model itself.",
        )


def _layer(classes: Counter[TensorClass], elements: tuple[int, int], memory: LayerMemory) -> LayerShape:
    return LayerShape(
        attention_bytes=classes["attention"],
        norm_bytes=classes["norm"],
        router_bytes=classes["router"],
        shared_bytes=classes["shared"],
        dense_bytes=classes["dense"],
        expert_bytes=classes["experts"],
        kind=memory.kind,
        kv_heads=memory.kv_heads,
        key_length=memory.key_length,
        value_length=memory.value_length,
        state_bytes=memory.state_bytes,
        index_length=memory.index_length,
        resident_weights=elements[1],
        expert_weights=elements[0],
    )


def _experts(keys: Keys, tensors: Sequence[TensorInfo], layers: int) -> tuple[int, int, int]:
    """Experts per layer, experts used per token, and the inner width of one; zeros for a dense model."""
    count = keys.count("expert_count", 0)
    if not count:
        return 0, 0, 0
    used = max(keys.per_layer("expert_used_count", layers))
    if not 0 < used <= count:
        raise keys.refused("expert_used_count", f"is {used} of {count} experts")
    downs = (tensor.shape[0] for tensor in tensors if ".ffn_down_exps.weight" in tensor.name)
    fallback = max(keys.per_layer("feed_forward_length", layers, 0))
    return count, used, next(downs, fallback)


def _vocabulary(tensors: Sequence[TensorInfo]) -> int:
    table = next(tensor for tensor in tensors if tensor.name == "token_embd.weight")
    return table.shape[1] if len(table.shape) > 1 else 1


def _name(header: GgufHeader) -> str:
    name = header.metadata.get("general.name")
    return name if isinstance(name, str) and name.strip() else header.path.stem


def _quantization(header: GgufHeader) -> str:
    """The file's own words, or the type that most of its bytes have."""
    declared = header.metadata.get("general.file_type")
    if isinstance(declared, int) and declared % _GUESSED in FILE_TYPES and not isinstance(declared, bool):
        return FILE_TYPES[declared % _GUESSED]
    sizes: Counter[str] = Counter()
    for tensor in header.tensors:
        sizes[tensor.type_name] += tensor.bytes
    return sizes.most_common(1)[0][0]
