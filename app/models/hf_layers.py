"""Which kind each layer of a Hugging Face model is of, and where its leading dense layers end."""

from __future__ import annotations

from app.models.hf_fields import LETTERS
from app.models.hf_values import Values
from app.models.mechanisms import FAR_RATIO, NEAR_RATIO


def pattern_of(values: Values, architecture: str, layers: int) -> str:
    """One letter for each layer where the architecture has such, else nothing."""
    if architecture in ("kimi-linear", "kimi-k3"):
        full = set(values.inside("linear_attn_config").numbers("full_attn_layers"))
        return "".join("*" if index + 1 in full else "k" for index in range(layers))
    if architecture == "bailingmoe3":
        group = values.number("layer_group_size")
        return "".join("*" if (index + 1) % group == 0 else "k" for index in range(layers))
    if architecture == "nemotron_h_moe":
        return values.text("hybrid_override_pattern")
    if architecture == "mimo2":
        return "".join("w" if windowed else "*" for windowed in values.numbers("hybrid_layer_pattern")[:layers])
    if architecture == "glm-dsa":
        return _shared_indexers(values, layers)
    if architecture == "deepseek4":
        return _compressed(values, layers)
    if architecture not in LETTERS:
        return ""
    letters = LETTERS[architecture]
    words = values.texts("layer_types")[:layers]
    if unknown := [word for word in words if word not in letters]:
        raise values.refused("layer_types", f"has {unknown[0]!r}, known are {', '.join(letters)}")
    pattern = [letters[word] for word in words]
    for place in values.numbers("ple_layer_ids", ()):
        pattern[place - 1] = "p"
    return "".join(pattern)


def _shared_indexers(values: Values, layers: int) -> str:
    """GLM 5: an indexer in every layer, or in those that `indexer_types` calls full."""
    words = values.texts("indexer_types", ())
    return "".join("i" if not words or words[index] == "full" else "*" for index in range(layers))


def _compressed(values: Values, layers: int) -> str:
    letters = {0: "w", 1: "w", NEAR_RATIO: "n", FAR_RATIO: "f"}
    ratios = values.numbers("compress_ratios")[:layers]
    if unknown := [ratio for ratio in ratios if ratio not in letters]:
        raise values.refused("compress_ratios", f"has {unknown[0]}, known are {', '.join(map(str, letters))}")
    hashed = values.number("num_hash_layers", 0)
    found = [letters[ratio] for ratio in ratios]
    return "".join(letter.upper() if index < hashed else letter for index, letter in enumerate(found))


def dense_lead(values: Values, layers: int) -> int:
    """How many layers come before the first with experts."""
    if words := values.texts("mlp_layer_types", ()):
        return next((index for index, word in enumerate(words) if word == "sparse"), layers)
    if values.is_list("moe_layer_freq"):
        flags = values.numbers("moe_layer_freq")
        return next((index for index, flag in enumerate(flags) if flag), layers)
    if named := values.text("moe_layers_enum", ""):
        return min(int(word) for word in named.split(",") if word.strip().isdigit())
    return values.first(("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), 0)
