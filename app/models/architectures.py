"""The tensors and metadata of a model's file, laid out from a `ModelSpec`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from app.errors import UsageError
from app.models.blueprints import ARCHITECTURES, Blueprint, Row, Rows
from app.models.mechanisms import FAR_RATIO, NEAR_RATIO
from app.models.quantization import Model, is_value, mixture, type_of
from app.models.spec import ModelSpec
from app.models.tensor_classes import TensorClass, place_of

QUANTIZATION_VERSION = 2
"""`general.quantization_version`: GGML_QNT_VERSION, llama.cpp `ggml/include/ggml.h`."""
_SEVENTY_LAYERS = 80
"""How llama.cpp tells Llama 70B (`src/models/llama.cpp`)."""


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor that a file of this spec has."""

    name: str
    shape: tuple[int, ...]
    """In ggml's order: the row length first."""
    tensor_class: TensorClass
    type_name: str


def blueprint_of(spec: ModelSpec) -> Blueprint:
    """What the layers of this model are made of.

    Raises:
        UsageError: the tensors of this architecture are not described.
    """
    if spec.architecture not in ARCHITECTURES:
        raise UsageError(
            f"The tensors of the architecture {spec.architecture} are not known",
            hint=f"Known are {', '.join(ARCHITECTURES)}.",
        )
    return ARCHITECTURES[spec.architecture]


def tensors_of(spec: ModelSpec) -> tuple[TensorPlan, ...]:
    """Every tensor of a model, layer by layer.

    Raises:
        UsageError: the tensors of this architecture are not described here, or there is no such quantization.
    """
    lengths, chosen, model = lengths_of(spec), mixture(spec.quantization), quantized_model(spec)
    rows: list[tuple[int, Row]] = [(0, row) for row in blueprint_of(spec).outside]
    for layer, names in enumerate(parts_by_layer(spec)):
        rows += [(layer, (f"blk.{layer}.{name}", sizes)) for name, sizes in rows_of(spec.architecture, names)]
    plans, values = [], 0
    for layer, (name, sizes) in rows:
        shape = tuple(lengths[size] for size in sizes)
        if all(shape):
            kind = type_of(chosen, name, shape, layer, values, model)
            plans.append(TensorPlan(name, shape, place_of(name)[1], kind))
            values += is_value(name)
    return tuple(plans)


def lengths_of(spec: ModelSpec) -> dict[str, int]:
    """The lengths that tensor shapes are made of, by name; 0 for what the model does not have."""
    lengths = spec.dimensions()
    if spec.layers < blueprint_of(spec).window_period:
        lengths["rope_factors"] = 0  # only layers that see everything have them, and this slice has none
    return lengths


def parts_by_layer(spec: ModelSpec) -> list[tuple[str, ...]]:
    """The names of the parts that each layer is made of; a NextN layer is a last layer of the trunk with additions."""
    blueprint = blueprint_of(spec)
    trunk = [
        _with_network(_part_names(spec, blueprint, layer), has_experts(spec, layer)) for layer in range(spec.layers)
    ]
    ahead = _with_network((*blueprint.nextn_parts, "nextn"), bool(spec.experts))
    return trunk + [ahead] * spec.nextn


@lru_cache(maxsize=256)
def _with_network(names: tuple[str, ...], experts: bool) -> tuple[str, ...]:
    """The parts with the feed-forward network that `ffn` stands for."""
    return tuple(("moe" if experts else "dense") if name == "ffn" else name for name in names)


@lru_cache(maxsize=1024)
def rows_of(architecture: str, names: tuple[str, ...]) -> Rows:
    """The tensors of a layer that is made of these parts."""
    blueprint = ARCHITECTURES[architecture]
    parts: dict[str, Rows] = {
        "full": blueprint.full,
        "recurrent": blueprint.recurrent,
        "window": blueprint.window,
        "dense": blueprint.dense,
        "moe": blueprint.moe,
        "nextn": blueprint.nextn,
        **blueprint.others,
    }
    return (*blueprint.every, *(row for name in names for row in parts[name]))


@lru_cache(maxsize=1024)
def value_projections(architecture: str, names: tuple[str, ...]) -> int:
    """How many value projections a layer of these parts has."""
    return sum(is_value(name) for name, _ in rows_of(architecture, names))


def _part_names(spec: ModelSpec, blueprint: Blueprint, layer: int) -> tuple[str, ...]:
    if spec.pattern:
        return blueprint.letters[spec.pattern[layer]]
    if spec.recurrent and spec.recurrent.interval and (layer + 1) % spec.recurrent.interval:
        return "recurrent", "ffn"
    return ("window" if blueprint.window and _is_windowed(blueprint, layer) else "full"), "ffn"


def _is_windowed(blueprint: Blueprint, layer: int) -> bool:
    return bool(blueprint.window_period) and (layer + 1) % blueprint.window_period != 0


def has_experts(spec: ModelSpec, layer: int) -> bool:
    """Whether a layer with a feed-forward network has experts in it."""
    return bool(spec.experts) and layer >= spec.dense_lead and (layer + 1) % spec.moe_step == 0


def quantized_model(spec: ModelSpec) -> Model:
    """What decides the types of this model's tensors."""
    return Model(
        layers=spec.layers + spec.nextn,
        values=sum(value_projections(spec.architecture, names) for names in parts_by_layer(spec)),
        group=spec.heads // spec.kv_heads,
        experts=spec.experts,
        tied=spec.tied,
        kept=blueprint_of(spec).kept,
        seventy=spec.architecture == "llama" and spec.layers == _SEVENTY_LAYERS and spec.heads > spec.kv_heads,
    )


def metadata_of(spec: ModelSpec) -> dict[str, object]:
    """The GGUF metadata of a model, the tokenizer's excepted.

    Raises:
        UsageError: the architecture is not described here, or there is no such quantization.
    """
    keys = _shape_keys(spec) | _expert_keys(spec) | _memory_keys(spec) | blueprint_of(spec).metadata
    sliced = f" (slice: {spec.layers} of {spec.full_layers} layers)" if spec.full_layers else ""
    return {
        "general.architecture": spec.architecture,
        "general.type": "model",
        "general.name": spec.name + sliced,
        "general.file_type": mixture(spec.quantization).file_type,
        "general.quantization_version": QUANTIZATION_VERSION,
        **{f"{spec.architecture}.{key}": value for key, value in keys.items() if value is not None},
    }


def _shape_keys(spec: ModelSpec) -> dict[str, object]:
    parts = parts_by_layer(spec)
    kv_heads = [
        0 if "full" not in names and "window" not in names else
        spec.window_kv_heads or spec.kv_heads if "window" in names else spec.kv_heads
        for names in parts
    ]  # fmt: skip
    heads = [spec.window_heads or spec.heads if "window" in names else spec.heads for names in parts]
    alone = [spec.expert_ff if names == ("moe",) else 0 for names in parts]
    if spec.lookup or (spec.recurrent and spec.recurrent.interval):  # other keys say which layers have none
        kv_heads = [spec.kv_heads]
    return {
        "block_count": spec.layers + spec.nextn,
        "context_length": spec.context_length,
        "embedding_length": spec.d_model,
        "feed_forward_length": tuple(alone) if any(alone) else spec.feed_forward or spec.expert_ff,
        "attention.head_count": tuple(heads) if spec.window_heads else spec.heads,
        "attention.head_count_kv": tuple(kv_heads) if len(set(kv_heads)) > 1 else kv_heads[0],
        "attention.key_length": spec.key_length,
        "attention.value_length": spec.value_length or spec.key_length,
        "attention.layer_norm_rms_epsilon": spec.norm_epsilon,
        "rope.freq_base": spec.rope_base,
        "nextn_predict_layers": spec.nextn or None,
    }


def _expert_keys(spec: ModelSpec) -> dict[str, object]:
    if not spec.experts:
        return {}
    return {
        "expert_count": spec.experts,
        "expert_used_count": spec.experts_used,
        "expert_feed_forward_length": spec.expert_ff,
        "expert_shared_count": spec.shared_experts or None,
        "expert_shared_feed_forward_length": spec.shared_ff or None,
        "leading_dense_block_count": spec.dense_lead or None,
        "interleave_moe_layer_step": spec.moe_step,
        "expert_latent_length" if spec.kda else "moe_latent_size": spec.latent or None,
    }


def _memory_keys(spec: ModelSpec) -> dict[str, object]:
    keys: dict[str, object] = {"attention.sliding_window": spec.window or None}
    blueprint = blueprint_of(spec)
    parts = parts_by_layer(spec)
    if blueprint.window:
        keys["attention.sliding_window_pattern"] = tuple("window" in names for names in parts)
    if spec.window_key_length:
        keys["attention.key_length_swa"] = keys["attention.value_length_swa"] = spec.window_key_length
    if spec.yarn:
        keys["rope.scaling.type"] = "yarn"
        keys["rope.scaling.factor"] = spec.yarn.factor
        keys["rope.scaling.original_context_length"] = spec.yarn.original_context
    if mla := spec.mla:
        keys["attention.q_lora_rank"] = mla.q_lora
        keys["attention.kv_lora_rank"] = mla.kv_lora
        keys["attention.key_length_mla"] = mla.nope + mla.rope
        keys["attention.value_length_mla"] = mla.value
        keys["rope.dimension_count"] = mla.rope
    if spec.kda:
        keys["kda.head_dim"] = spec.kda.head_length
        keys["ssm.conv_kernel"] = spec.kda.conv_kernel
    if index := spec.indexer:
        keys["attention.indexer.head_count"] = index.index_heads
        keys["attention.indexer.key_length"] = index.index_length
        keys["attention.indexer.top_k"] = index.top_k
        keys["attention.indexer.kpool"] = index.pool or None
    if "indexer" in blueprint.others:
        keys["attention.indexer.types"] = tuple(int("indexer" in names) for names in parts[: spec.layers])
    if spec.streams:
        keys["hyper_connection.count"] = spec.streams.streams
        keys["hyper_connection.low_rank"] = spec.streams.rank or None
    if spec.compression:
        keys["attention.q_lora_rank"] = spec.compression.query_lora
        keys["attention.output_group_count"] = spec.compression.output_groups
        keys["attention.output_lora_rank"] = spec.compression.output_lora
        ratios = {"near": NEAR_RATIO, "far": FAR_RATIO}
        keys["attention.compress_ratios"] = tuple(sum(ratios.get(name, 0) for name in names) for names in parts)
        keys["hash_layer_count"] = sum("hashed" in names for names in parts)
    if spec.lookup:
        keys["attention.recurrent_layers"] = tuple("recurrent" in names for names in parts)
        keys["ple.layers"] = tuple(index for index, names in enumerate(parts) if "lookup" in names)
        keys["embedding_length_per_layer_input"] = spec.lookup.row_length
        keys |= spec.lookup.keys()
    if state := spec.recurrent:
        keys["full_attention_interval"] = state.interval or None
        if not state.inner:
            return keys | {"shortconv.l_cache": state.conv_kernel}
        keys["ssm.conv_kernel"] = state.conv_kernel
        keys["ssm.inner_size"] = state.inner
        keys["ssm.state_size"] = state.state
        keys["ssm.group_count"] = state.groups
        keys["ssm.time_step_rank"] = state.heads
    return keys
