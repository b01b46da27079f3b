"""Turns a GGUF header into the `ModelShape` that the solver works with: exact bytes by class, KV geometry."""

from __future__ import annotations

from collections import Counter

from app.errors import ModelError
from app.models.class_weights import ClassWeights, ModelWeights, counted_weights, planned_weights
from app.models.families import FAMILIES, Family
from app.models.ggml_types import FILE_TYPES
from app.models.gguf import GgufHeader
from app.models.keys import Keys
from app.models.layout import empty_header
from app.models.memory_geometry import LayerMemory, attention_flops, layer_memories, window_tokens
from app.models.spec import ModelSpec
from app.models.tensor_classes import place_of
from app.solver.model import LayerShape, ModelShape

MAX_LAYERS = 512
"""LLAMA_MAX_LAYERS, llama.cpp `src/llama-hparams.h`."""
DEFAULT_MATRICES = 3
"""Gate, up and down: of files that have one tensor for each expert."""
_GUESSED = 1024
"""Added to `general.file_type` where the converter guessed it (LLAMA_FTYPE_GUESSED)."""


def shape_of(header: GgufHeader) -> ModelShape:
    """The shape of a model. NextN (multi-token prediction) layers, which llama.cpp skips, are counted apart.

    Raises:
        ModelError: the architecture is not known, or keys or tensors that every model has are missing.
    """
    keys = Keys(header)
    _check_known(header)
    total = _trunk_layers(keys) + keys.count("nextn_predict_layers", 0)
    return _assembled(header, counted_weights(header.tensors, total))


def planned_shape(spec: ModelSpec) -> ModelShape:
    """The shape of a file of this spec, which need not exist: `shape_of(planned_header(spec))`, and much faster.

    Raises:
        UsageError: the architecture's tensors are not described, or there is no such quantization.
    """
    weights = planned_weights(spec)
    return _assembled(empty_header(spec, weights.padded_bytes), weights)


def _assembled(header: GgufHeader, weights: ModelWeights) -> ModelShape:
    keys, family = Keys(header), FAMILIES[header.architecture]
    count = _trunk_layers(keys)
    _check_complete(header, weights, count)
    d_model = keys.count("embedding_length")
    memories = layer_memories(keys, family, count, d_model)
    heads = keys.per_layer("attention.head_count", count)
    expert_count, expert_used, expert_ff = _experts(keys, weights, count)
    outside = weights.outside
    return ModelShape(
        name=_name(header),
        architecture=header.architecture,
        layers=_layers(weights, memories, attention_flops(keys, memories, heads), family),
        embedding_bytes=outside.bytes["embedding"],
        lookup_bytes=outside.bytes["lookup"],
        head_bytes=outside.bytes["head"] + (outside.bytes["embedding"] if weights.tied else 0),
        head_tied=weights.tied,
        vocabulary=weights.vocabulary,
        d_model=d_model,
        heads=max(heads),
        expert_count=expert_count,
        expert_used=expert_used,
        expert_ff=expert_ff,
        window=window_tokens(keys, family),
        context_length=keys.count("context_length", 0),
        file_bytes=header.file_bytes,
        quantization=_quantization(header),
        split_count=len(header.files) or 1,
        expert_matrices=weights.expert_matrices or DEFAULT_MATRICES,
        expert_width=weights.expert_in or d_model,
        head_weights=outside.elements["embedding" if weights.tied else "head"],
        nextn_layers=len(weights.layers) - count,
        nextn_bytes=sum(sum(of_layer.bytes.values()) for of_layer in weights.layers[count:]),
    )


def _check_known(header: GgufHeader) -> None:
    if header.architecture not in FAMILIES:
        raise ModelError(
            f"{header.path} has the architecture {header.architecture or '(none)'}, which moetune does not know",
            hint=f"Known are {', '.join(FAMILIES)}.",
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


def _check_complete(header: GgufHeader, weights: ModelWeights, count: int) -> None:
    bare = [str(index) for index, layer in enumerate(weights.layers[:count]) if not layer.bytes]
    has_table = weights.outside.bytes["embedding"]
    missing = f"no tensors of layer {bare[0]}" if bare else "" if has_table else "no token_embd.weight"
    if missing:
        raise ModelError(
            f"{header.path} has {missing}",
            hint="It holds only part of a model (an adapter, a vocabulary, a draft head); give the model itself.",
        )


def _layers(
    weights: ModelWeights, memories: tuple[LayerMemory, ...], flops: tuple[int, ...], family: Family
) -> tuple[LayerShape, ...]:
    """The layers of the trunk; those that are reckoned together are one object."""
    made: dict[tuple[int, LayerMemory, int], LayerShape] = {}
    layers = []
    for of_layer, memory, operations in zip(weights.layers, memories, flops, strict=False):
        key = (id(of_layer), memory, operations)
        if key not in made:
            made[key] = _layer(of_layer, memory, operations, family)
        layers.append(made[key])
    return tuple(layers)


def _layer(weights: ClassWeights, memory: LayerMemory, flops: int, family: Family) -> LayerShape:
    return LayerShape(
        attention_bytes=weights.bytes["attention"],
        norm_bytes=weights.bytes["norm"],
        router_bytes=weights.bytes["router"],
        shared_bytes=weights.bytes["shared"],
        dense_bytes=weights.bytes["dense"],
        expert_bytes=weights.bytes["experts"],
        kind=memory.kind,
        kv_heads=memory.kv_heads,
        key_length=memory.key_length,
        value_length=memory.value_length,
        state_bytes=memory.state_bytes,
        index_length=memory.index_length,
        resident_weights=sum(weights.elements.values()) - weights.elements["experts"],
        expert_weights=weights.elements["experts"],
        attention_flops=flops,
        many_kernels=family.many_kernels or memory.kind == "recurrent",
    )


def _experts(keys: Keys, weights: ModelWeights, layers: int) -> tuple[int, int, int]:
    """Experts per layer, experts used per token, and the inner width of one; zeros for a dense model."""
    count = keys.count("expert_count", 0)
    if not count:
        return 0, 0, 0
    used = max(keys.per_layer("expert_used_count", layers))
    if not 0 < used <= count:
        raise keys.refused("expert_used_count", f"is {used} of {count} experts")
    return count, used, weights.expert_ff or max(keys.per_layer("feed_forward_length", layers, 0))


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
