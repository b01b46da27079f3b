"""The tensors and metadata of an architecture's files, laid out from a `ModelSpec`.

Source of names, shapes and order of dimensions: llama.cpp 0.5.0, `src/models/openai-moe.cpp`,
`src/models/qwen3moe.cpp`, `src/llama-arch.cpp`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.errors import UsageError
from app.models.spec import ModelSpec, TypeRole
from app.models.tensor_classes import TensorClass, place_of

QUANTIZATION_VERSION = 2
"""`general.quantization_version`: GGML_QNT_VERSION, llama.cpp `ggml/include/ggml.h`."""

Role = Literal["embedding", "head", "attention", "attention_value", "experts", "experts_down", "router", "f32"]
"""What decides a tensor's type: norms, biases and sinks are always F32."""
Row = tuple[str, tuple[str, ...], Role]
"""Name, dimensions in ggml's order by the names of `ModelSpec.dimensions`, role."""

_OUTSIDE: tuple[Row, ...] = (
    ("token_embd.weight", ("d_model", "vocabulary"), "embedding"),
    ("output_norm.weight", ("d_model",), "f32"),
    ("output.weight", ("d_model", "vocabulary"), "head"),
)
_ATTENTION: tuple[Row, ...] = (
    ("attn_norm.weight", ("d_model",), "f32"),
    ("attn_q.weight", ("d_model", "queries"), "attention"),
    ("attn_k.weight", ("d_model", "keys"), "attention"),
    ("attn_v.weight", ("d_model", "values"), "attention_value"),
    ("attn_output.weight", ("mixed", "d_model"), "attention"),
)
_EXPERTS: tuple[Row, ...] = (
    ("ffn_gate_inp.weight", ("d_model", "experts"), "router"),
    ("ffn_gate_exps.weight", ("d_model", "expert_ff", "experts"), "experts"),
    ("ffn_up_exps.weight", ("d_model", "expert_ff", "experts"), "experts"),
    ("ffn_down_exps.weight", ("expert_ff", "d_model", "experts"), "experts_down"),
)

ARCHITECTURES: dict[str, tuple[Row, ...]] = {
    "gpt-oss": (
        *_ATTENTION,
        ("attn_q.bias", ("queries",), "f32"),
        ("attn_k.bias", ("keys",), "f32"),
        ("attn_v.bias", ("values",), "f32"),
        ("attn_output.bias", ("d_model",), "f32"),
        ("attn_sinks.weight", ("heads",), "f32"),
        ("post_attention_norm.weight", ("d_model",), "f32"),
        *_EXPERTS,
        ("ffn_gate_inp.bias", ("experts",), "f32"),
        ("ffn_gate_exps.bias", ("expert_ff", "experts"), "f32"),
        ("ffn_up_exps.bias", ("expert_ff", "experts"), "f32"),
        ("ffn_down_exps.bias", ("d_model", "experts"), "f32"),
    ),
    "qwen3moe": (
        *_ATTENTION,
        ("attn_q_norm.weight", ("key_length",), "f32"),
        ("attn_k_norm.weight", ("key_length",), "f32"),
        ("ffn_norm.weight", ("d_model",), "f32"),
        *_EXPERTS,
    ),
}
"""The tensors of one layer, by architecture."""

_TYPE_ROLES: dict[Role, TypeRole] = {
    "embedding": "embedding",
    "head": "head",
    "attention": "attention",
    "attention_value": "attention",
    "experts": "experts",
    "experts_down": "experts",
    "router": "router",
}


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """One tensor that a file of this spec has."""

    name: str
    shape: tuple[int, ...]
    """In ggml's order: the row length first."""
    tensor_class: TensorClass
    type_name: str


def tensors_of(spec: ModelSpec) -> tuple[TensorPlan, ...]:
    """Every tensor of a model, layer by layer.

    Raises:
        UsageError: the tensors of this architecture are not described here.
    """
    if spec.architecture not in ARCHITECTURES:
        raise UsageError(
            f"The tensors of the architecture {spec.architecture} are not known",
            hint=f"Known are {', '.join(ARCHITECTURES)}.",
        )
    lengths = spec.dimensions()

    def plan(prefix: str, rows: Sequence[Row], layer: int) -> list[TensorPlan]:
        return [
            TensorPlan(
                prefix + name,
                tuple(lengths[dimension] for dimension in dimensions),
                place_of(prefix + name)[1],
                _type_of(spec, role, layer),
            )
            for name, dimensions, role in rows
        ]

    rows = ARCHITECTURES[spec.architecture]
    layers = [plan(f"blk.{layer}.", rows, layer) for layer in range(spec.layers)]
    return (*plan("", _OUTSIDE, 0), *(tensor for layer in layers for tensor in layer))


def _type_of(spec: ModelSpec, role: Role, layer: int) -> str:
    if role == "f32":
        return "F32"
    larger = spec.types.get("more_bits")
    if larger and role in ("attention_value", "experts_down") and _has_more_bits(layer, spec.layers):
        return larger
    return spec.types[_TYPE_ROLES[role]]


def _has_more_bits(layer: int, layers: int) -> bool:
    """Which layers the K-quant `_M` mixtures favour (llama.cpp `src/llama-quant.cpp`, `use_more_bits`)."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def metadata_of(spec: ModelSpec) -> dict[str, object]:
    """The GGUF metadata of a model, the tokenizer's excepted."""
    keys: dict[str, object] = {
        "block_count": spec.layers,
        "context_length": spec.context_length,
        "embedding_length": spec.d_model,
        "feed_forward_length": spec.feed_forward,
        "attention.head_count": spec.heads,
        "attention.head_count_kv": spec.kv_heads,
        "attention.key_length": spec.key_length,
        "attention.value_length": spec.value_length,
        "attention.layer_norm_rms_epsilon": spec.norm_epsilon,
        "rope.freq_base": spec.rope_base,
        "expert_count": spec.experts,
        "expert_used_count": spec.experts_used,
        "expert_feed_forward_length": spec.expert_ff,
    }
    if spec.window:
        keys["attention.sliding_window"] = spec.window
    if spec.yarn:
        keys["rope.scaling.type"] = "yarn"
        keys["rope.scaling.factor"] = spec.yarn.factor
        keys["rope.scaling.original_context_length"] = spec.yarn.original_context
    sliced = f" (slice: {spec.layers} of {spec.full_layers} layers)" if spec.full_layers else ""
    return {
        "general.architecture": spec.architecture,
        "general.type": "model",
        "general.name": spec.name + sliced,
        "general.file_type": spec.file_type,
        "general.quantization_version": QUANTIZATION_VERSION,
        **{f"{spec.architecture}.{key}": value for key, value in keys.items()},
    }
