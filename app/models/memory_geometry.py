"""What each layer adds to the KV cache or keeps as a recurrent state.

Formulas: llama.cpp 0.5.0, `src/llama-hparams.cpp` (`n_embd_r`, `n_embd_s`, `is_mla`), `src/llama-kv-cache.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.models.families import Family
from app.models.keys import Keys
from app.solver.model import LayerKind

_F32_BYTES = 4


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """One layer's memory of what was said."""

    kind: LayerKind
    kv_heads: int = 0
    key_length: int = 0
    value_length: int = 0
    state_bytes: int = 0
    index_length: int = 0


def layer_memories(keys: Keys, family: Family, layers: int, d_model: int) -> tuple[LayerMemory, ...]:
    """The memory of each of the trunk's `layers`.

    Raises:
        ModelError: a key that decides it is missing or makes no sense.
    """
    heads = keys.per_layer("attention.head_count", layers)
    kv_heads = keys.per_layer("attention.head_count_kv", layers, max(heads))
    width = d_model // max(*heads, 1)
    key_length = keys.count("attention.key_length", width)
    value_length = keys.count("attention.value_length", width)
    kinds = _recurrent_kinds(keys, family, layers, kv_heads) or _window_kinds(keys, family, layers)
    if family.keys_only or (family.mla and keys.count("attention.key_length_mla", 0)):
        kv_heads, value_length = (1,) * layers, 0
    state_bytes = _state_bytes(keys, d_model, max(heads)) if "recurrent" in kinds else 0
    indexes = index_lengths(keys, family, kinds)
    lengths: dict[LayerKind, tuple[int, int]] = {
        "full": (key_length, value_length),
        "swa": (
            keys.count("attention.key_length_swa", key_length),
            value_length and keys.count("attention.value_length_swa", value_length),
        ),
    }
    kept = compressor_bytes(keys, family, layers)
    owning = layers - keys.count("attention.shared_kv_layers", 0)

    def memory(index: int, kind: LayerKind, owned: int) -> LayerMemory:
        if kind == "recurrent":
            return LayerMemory(kind, state_bytes=state_bytes)
        if not owned or index >= owning:
            return LayerMemory("none")
        return LayerMemory(kind, owned, *lengths[kind], kept[index], index_length=indexes[index])

    return tuple(memory(index, kind, owned) for index, (kind, owned) in enumerate(zip(kinds, kv_heads, strict=True)))


def window_tokens(keys: Keys, family: Family) -> int:
    """The sliding window, 0 where there is none."""
    has_window = family.window_period or family.windowed
    return keys.count("attention.sliding_window", family.window) if has_window else 0


def _window_kinds(keys: Keys, family: Family, layers: int) -> tuple[LayerKind, ...]:
    if not window_tokens(keys, family):
        return _flagged((0,) * layers, "swa")
    if family.windowed:
        return _flagged((1,) * layers, "swa")
    if isinstance(keys.raw("attention.sliding_window_pattern"), tuple):
        flags = keys.per_layer("attention.sliding_window_pattern", layers)
        return _flagged(flags, "swa")
    period = keys.count("attention.sliding_window_pattern", family.window_period)
    return family.pattern(period, layers, "swa")


def window_flags(keys: Keys, family: Family, layers: int) -> tuple[bool, ...]:
    """Which layers see a sliding window, nothing where the architecture has none."""
    if not window_tokens(keys, family) or family.windowed:
        return ()
    return tuple(kind == "swa" for kind in _window_kinds(keys, family, layers))


def _recurrent_kinds(keys: Keys, family: Family, layers: int, kv_heads: tuple[int, ...]) -> tuple[LayerKind, ...]:
    """Empty where the architecture has no recurrent layers."""
    if family.recurrent_without_kv:
        widths = (0,) * layers if family.mixer else keys.per_layer("feed_forward_length", layers)
        return _flagged(tuple(not heads and not ff for heads, ff in zip(kv_heads, widths, strict=True)), "recurrent")
    if not family.recurrent_period:
        return ()
    if isinstance(keys.raw("attention.recurrent_layers"), tuple):
        flags = keys.per_layer("attention.recurrent_layers", layers)
        return _flagged(flags, "recurrent")
    period = keys.count("full_attention_interval", family.recurrent_period)
    return family.pattern(period, layers, "recurrent")


def _flagged(flags: tuple[int, ...], other: LayerKind) -> tuple[LayerKind, ...]:
    return tuple(other if flag else "full" for flag in flags)


def _state_bytes(keys: Keys, d_model: int, heads: int) -> int:
    """Convolution and state-space state of one sequence in one layer, kept in F32."""
    if length := keys.count("kda.head_dim", 0):
        taps = max(keys.count("ssm.conv_kernel") - 1, 0)
        return _F32_BYTES * heads * length * (3 * taps + length)
    if cached := keys.count("shortconv.l_cache", 0):
        return _F32_BYTES * d_model * (cached - 1)
    inner, state = keys.count("ssm.inner_size"), keys.count("ssm.state_size")
    taps = max(keys.count("ssm.conv_kernel") - 1, 0)
    convolution = taps * (inner + 2 * keys.count("ssm.group_count") * state)
    return _F32_BYTES * (convolution + state * inner)


def index_lengths(keys: Keys, family: Family, kinds: tuple[LayerKind, ...]) -> tuple[int, ...]:
    """What each layer caches for every token of the context besides its keys and values, in elements.

    Source: llama.cpp 0.5.0, `src/llama-kv-cache-dsa.cpp`, `src/llama-memory-hybrid-idx.cpp` (pooled keys keep a key, a
    gate and a pooled key), `src/llama-kv-cache-dsv4.cpp` (one row of `key_length` for 4 or 128 tokens).
    """
    layers = len(kinds)
    if not family.indexer:
        return (0,) * layers
    length = keys.count("attention.indexer.key_length", 0)
    if family.indexer == "compressed":
        row = keys.count("attention.key_length")
        made = {0: 0, 4: (row + length) // 4, 128: row // 128}
        ratios = keys.per_layer("attention.compress_ratios", layers)
        return tuple(made.get(ratio, 0) for ratio in ratios)
    if family.indexer == "named":
        named = keys.per_layer("attention.indexer.types", layers, 1)
        return tuple(length if flag else 0 for flag in named)
    if family.indexer == "experts":
        lead = keys.count("leading_dense_block_count", 0)
        # Not of the latent kind, so llama.cpp keeps values beside the keys.
        return tuple(2 * length if index >= lead else 0 for index in range(layers))
    pooled = 3 if keys.count("attention.indexer.kpool", 0) else 1
    return tuple(length * pooled if kind != "recurrent" else 0 for kind in kinds)


def compressor_bytes(keys: Keys, family: Family, layers: int) -> tuple[int, ...]:
    """What DeepSeek V4's compressors keep of one sequence, in F32: rows and their weights not yet compressed.

    Source: llama.cpp 0.5.0, `src/llama-kv-cache-dsv4.cpp`: two tensors of 8 rows of twice the width for four tokens
    (the indexer has its own), of 128 rows for 128.
    """
    if family.indexer != "compressed":
        return (0,) * layers
    row, length = keys.count("attention.key_length"), keys.count("attention.indexer.key_length", 0)
    made = {0: 0, 4: 2 * 8 * 2 * (row + length) * _F32_BYTES, 128: 2 * 128 * row * _F32_BYTES}
    return tuple(made.get(ratio, 0) for ratio in keys.per_layer("attention.compress_ratios", layers))


def attention_flops(keys: Keys, memories: tuple[LayerMemory, ...], heads: tuple[int, ...]) -> tuple[int, ...]:
    """Operations of each layer for each token that one token looks at: scores and mixing, of all query heads.

    A multiplication and an addition are two. With MLA, where a head's keys are the cached row and its values the
    compressed part of it, that is `2 x heads x (key_length + kv_lora)`, as llama.cpp computes it.
    """
    latent = keys.count("attention.kv_lora_rank", 0)

    def flops(memory: LayerMemory, count: int) -> int:
        if memory.kind not in ("full", "swa"):
            return 0
        return 2 * count * (memory.key_length + (memory.value_length or latent or memory.key_length))

    return tuple(flops(memory, count) for memory, count in zip(memories, heads, strict=True))
