"""Hugging Face models on disk: a `config.json` says what a GGUF header says, without a conversion.

The weights beside it are what is planned with unless another quantization is named: their type is read from the
configuration, their bytes are the sizes of the `.safetensors` files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import ModelError
from app.models.blueprints import ARCHITECTURES
from app.models.families import FAMILIES
from app.models.hf_fields import FIELDS, MODEL_TYPES, NESTED
from app.models.hf_layers import dense_lead, pattern_of
from app.models.hf_mechanisms import (
    compression_of,
    indexer_of,
    kda_of,
    lookup_of,
    mla_of,
    recurrent_of,
    streams_of,
)
from app.models.hf_values import Values
from app.models.sense import nonsense
from app.models.shape import MAX_LAYERS
from app.models.sizing import shape_with_quantization
from app.models.spec import ModelSpec
from app.solver.model import ModelShape

CONFIG_NAME = "config.json"
MAX_CONFIG_BYTES = 4 << 20
"""The largest published ones take about 100 KiB."""
_EXPERTS_IN_FEED_FORWARD = ("gpt-oss", "granitehybrid", "granitemoe", "llama", "minimax-m2", "olmoe", "phimoe")
"""Architectures whose `intermediate_size` is that of an expert where there are any: they have no dense layers."""
_OUTER_DECIDES = ("kimi_k3",)
_NEXTN_TABLES = ("deepseek32",)
"""Architectures whose checkpoints give a NextN layer an embedding table and a head of its own."""
_ALL_SHARED = ("hunyuan-moe",)
"""Whose `intermediate_size` is that of the shared expert."""


@dataclass(frozen=True, slots=True)
class HfModel:
    """What a folder of Hugging Face's holds."""

    spec: ModelSpec
    quantization: str
    """Of the weights, in words that `shape_with_quantization` understands."""
    weight_bytes: int | None
    """Of the `.safetensors` files; `None` where there are none or not all of them."""


def config_path(path: Path) -> Path | None:
    """The `config.json` that is meant by this path, if any: the file itself or the folder that holds it."""
    if path.is_dir() and (path / CONFIG_NAME).is_file():
        return path / CONFIG_NAME
    return path if path.name == CONFIG_NAME and path.is_file() else None


def config_shape(path: Path, words: str | None = None) -> ModelShape:
    """The shape of a Hugging Face model.

    Args:
        path: its `config.json`.
        words: the quantization to plan with; None: that of the weights beside it.

    Raises:
        ModelError: the file cannot be read or its `model_type` is not known.
        UsageError: nothing is known of such a quantization.
    """
    model = read_config(path)
    if words:
        return shape_with_quantization(model.spec, words)
    return shape_with_quantization(model.spec, model.quantization, model.weight_bytes)


def read_config(path: Path) -> HfModel:
    """Read a model's configuration.

    Raises:
        ModelError: unreadable, not JSON, of an unknown `model_type`, or values that make no sense.
    """
    found = _object(path)
    values, architecture = _language_model(path, found)
    spec = _spec(values, architecture)
    if why := nonsense(spec):
        raise ModelError(f"{path} cannot be used: {why}", hint="Give the model's own config.json, as it is published.")
    return HfModel(spec, _quantization(values, found), _weight_bytes(path.parent))


def _object(path: Path) -> dict[str, object]:
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ModelError(f"{path} is too large for a model's configuration", hint="Give the model's config.json.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error
        raise ModelError(f"{path} cannot be read: {why}", hint="Give the model's own config.json.") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path} is not a model's configuration", hint="Give the model's own config.json.")
    return found


def _language_model(path: Path, found: Mapping[str, object]) -> tuple[Values, str]:
    """The configuration of the language model within, and its architecture."""
    types = [found.get("model_type")]
    merged = dict(found)
    for _ in NESTED:
        inside = next((merged[key] for key in NESTED if isinstance(merged.get(key), dict)), None)
        if not isinstance(inside, dict):
            break
        merged = {key: value for key, value in merged.items() if key not in NESTED} | inside
        types.append(inside.get("model_type"))
    names = [name.removesuffix("_text") for name in reversed(types) if isinstance(name, str)]
    # Mistral 3 wraps models of other kinds, so the inner name decides; Kimi K3 calls what it wraps a Kimi Linear.
    ordered = sorted(names, key=lambda name: name not in _OUTER_DECIDES)
    known = next((MODEL_TYPES[name] for name in ordered if name in MODEL_TYPES), None)
    if known is None:
        raise ModelError(
            f"{path} is of the model_type {names[0] if names else '(none)'}, which moetune does not know",
            hint=f"Known are {', '.join(MODEL_TYPES)}.",
        )
    return Values(path, merged), known


def _spec(values: Values, architecture: str) -> ModelSpec:
    layers = values.first(FIELDS["layers"], 0) or len(values.text("hybrid_override_pattern", ""))
    if not 0 < layers <= MAX_LAYERS:
        raise values.refused(FIELDS["layers"][0], f"is {layers}, 1 to {MAX_LAYERS} can be")
    if values.first(("num_kv_shared_layers", "hidden_size_per_layer_input"), 0):
        raise values.refused("num_kv_shared_layers", "is not 0: models of that kind are not described")
    mla = mla_of(values, architecture)
    pattern = pattern_of(values, architecture, layers)
    experts = values.first(FIELDS["experts"], 0)
    return ModelSpec(
        id=_name(values.path),
        name=_name(values.path),
        architecture=architecture,
        quantization="BF16",
        layers=layers,
        d_model=_positive(values, "d_model"),
        vocabulary=_positive(values, "vocabulary"),
        context_length=values.first(FIELDS["context_length"], 0),
        feed_forward=_feed_forward(values, architecture, experts),
        tied=values.flag("tie_word_embeddings", architecture in ("gemma3", "gemma4")),
        nextn=values.first(FIELDS["nextn"], 0) if ARCHITECTURES[architecture].nextn else 0,
        nextn_tables=architecture in _NEXTN_TABLES,
        pattern=pattern,
        mla=mla,
        recurrent=recurrent_of(values, architecture, pattern),
        kda=kda_of(values, architecture),
        indexer=indexer_of(values, architecture),
        streams=streams_of(values, architecture),
        compression=compression_of(values, architecture),
        lookup=lookup_of(values, architecture),
        **_attention(values, architecture, mla is not None),
        **_window(values, architecture),
        **(_experts(values, architecture, experts, layers) if experts else {}),
    )


def _name(path: Path) -> str:
    """What the folder is called; in Hugging Face's cache, what the repository is called."""
    parts = path.absolute().parent.parts
    cached = [part.rpartition("--")[2] for part in parts if part.startswith("models--")]
    return (cached[-1] if cached else parts[-1]) or "model"


def _positive(values: Values, name: str) -> int:
    found = values.first(FIELDS[name])
    if not found:
        raise values.refused(FIELDS[name][0], "is 0")
    return found


def _feed_forward(values: Values, architecture: str, experts: int) -> int:
    if experts and architecture in (*_EXPERTS_IN_FEED_FORWARD, *_ALL_SHARED):
        return 0
    return values.first(FIELDS["feed_forward"], 0)


def _attention(values: Values, architecture: str, latent: bool) -> dict[str, Any]:
    heads = _positive(values, "heads")
    if latent:
        lora = values.number("kv_lora_rank")
        return {
            "heads": heads,
            "kv_heads": 1,
            "key_length": lora + values.number("qk_rope_head_dim"),
            "value_length": lora,
        }
    key = values.first(FIELDS["key_length"], 0) or values.first(FIELDS["d_model"]) // heads
    value = 0 if FAMILIES[architecture].keys_only else values.number("v_head_dim", key)
    kv_heads = values.first(FIELDS["kv_heads"], heads) or heads
    return {"heads": heads, "kv_heads": kv_heads, "key_length": key, "value_length": value}


def _window(values: Values, architecture: str) -> dict[str, Any]:
    family = FAMILIES[architecture]
    window = values.first(FIELDS["window"], 0) if values.flag("use_sliding_window", True) else 0
    if not window or not (family.window_period or family.windowed):
        return {}
    other = values.inside("attention_other_setting")
    heads = values.numbers("num_attention_heads_per_layer", ()) or (other.number("num_attention_heads", 0),)
    found = {"window": window, "window_heads": max(heads) if max(heads) != values.first(FIELDS["heads"]) else 0}
    if architecture == "gemma4":
        found["window_kv_heads"] = values.number("num_key_value_heads")
        found["window_key_length"] = values.number("head_dim")
    if swa := values.number("swa_num_key_value_heads", 0):
        found["window_kv_heads"] = swa
    return found


def _experts(values: Values, architecture: str, experts: int, layers: int) -> dict[str, Any]:
    width = values.first(FIELDS["expert_ff"])
    if architecture == "llama4":
        width = values.number("intermediate_size")
    shared = values.first(FIELDS["shared_experts"], 0)
    shared_ff = values.first(FIELDS["shared_ff"], 0) or shared * width
    if architecture in ("llama4", *_ALL_SHARED):
        shared, shared_ff = max(shared, 1), values.number("intermediate_size")
    return {
        "experts": experts,
        "experts_used": min(values.first(FIELDS["experts_used"]), experts),
        "expert_ff": width,
        "shared_experts": shared or (1 if shared_ff else 0),
        "shared_ff": shared_ff if ARCHITECTURES[architecture].moe else 0,
        "dense_lead": dense_lead(values, layers),
        "moe_step": max(values.first(FIELDS["moe_step"], 1), 1),
        "latent": values.first(FIELDS["latent"], 0),
    }


def _quantization(values: Values, found: Mapping[str, object]) -> str:
    """The type of the weights, in words."""
    stated = values.found.get("quantization_config") or found.get("quantization_config")
    if not isinstance(stated, dict):
        return "BF16"
    method = str(stated.get("quant_method", "")).lower()
    words = json.dumps(stated).lower()
    if method == "mxfp4":
        return "MXFP4"
    if "nvfp4" in words:
        return "NVFP4"
    if method == "fp8" or '"num_bits": 8' in words or '"quant_algo": "fp8"' in words:
        return "FP8"
    if '"bits": 8' in words:
        return "INT8"
    return "RAWINT4" if '"num_bits": 4' in words or '"bits": 4' in words else "BF16"


def _weight_bytes(folder: Path) -> int | None:
    """The sizes of the weights beside the configuration, where all of them are there."""
    try:
        sizes = {entry.name: entry.stat().st_size for entry in folder.iterdir() if entry.suffix == ".safetensors"}
        index = folder / "model.safetensors.index.json"
        listed = json.loads(index.read_text()) if index.exists() else {"weight_map": {"": "model.safetensors"}}
        needed = set(listed["weight_map"].values())
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return None
    return sum(sizes.values()) if sizes and needed <= set(sizes) else None
