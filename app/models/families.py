"""What moetune knows of each GGUF architecture, as data: one row each, no branches in the code that reads it.

Source: llama.cpp 0.5.0, `src/models/<architecture>.cpp` (`load_arch_hparams`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.solver.model import LayerKind

Indexed = Literal["", "every", "named", "experts", "attention", "compressed"]
"""None; every layer; those that `indexer.types` names; those with experts; those with a cache, of pooled keys where
the file says so; and DeepSeek V4's, whose caches are compressed."""


@dataclass(frozen=True, slots=True)
class Family:
    """How an architecture remembers: what decides its KV cache beyond the usual keys."""

    window_period: int = 0
    """Every n-th layer sees everything and the others a sliding window; 0: the architecture has no window."""
    window: int = 0
    """The window in tokens where the file does not say."""
    mla: bool = False
    """Multi-head latent attention: one compressed row per token where the file has the `_mla` keys."""
    recurrent_period: int = 0
    """Every n-th layer is attention and the others keep a recurrent state; 0: all are attention."""

    recurrent_without_kv: bool = False
    """Layers without KV heads and without a feed-forward network of their own (or, `mixer`, whatever they have
    besides) keep a recurrent state."""
    mixer: bool = False
    """Every layer has a feed-forward network beside its attention or state."""

    window_first: bool = False
    """The first of every `window_period` layers sees everything, not the last."""
    windowed: bool = False
    """Every layer has the window."""
    keys_only: bool = False
    """Keys are the values: no values are cached."""
    many_kernels: bool = False
    """Its layers are made of many small operations even where they keep no recurrent state."""
    indexer: Indexed = ""
    """Which layers keep an indexer's keys besides."""

    def pattern(self, period: int, layers: int, other: LayerKind) -> tuple[LayerKind, ...]:
        """`other` everywhere but in every `period`-th layer (llama.cpp: `il % n < n - 1`; 0 means everywhere)."""
        seeing = 0 if self.window_first else period - 1
        return tuple("full" if period and index % period == seeing else other for index in range(layers))


FAMILIES: dict[str, Family] = {
    "afmoe": Family(window_period=4),
    "bailingmoe2": Family(),
    "bailingmoe3": Family(mla=True, recurrent_without_kv=True, mixer=True),
    "deepseek2": Family(mla=True),
    "deepseek32": Family(mla=True, indexer="every"),
    "deepseek4": Family(windowed=True, keys_only=True, indexer="compressed", many_kernels=True),
    "dots1": Family(),
    "ernie4_5-moe": Family(),
    "gemma3": Family(window_period=6),
    "gemma4": Family(window_period=6, many_kernels=True),
    "glm-dsa": Family(mla=True, indexer="named"),
    "glm4moe": Family(),
    "glm5-next": Family(mla=True, recurrent_without_kv=True, mixer=True, indexer="attention", many_kernels=True),
    "gpt-oss": Family(window_period=2),
    "granitehybrid": Family(recurrent_without_kv=True, mixer=True),
    "granitemoe": Family(),
    "grok": Family(),
    "hunyuan-moe": Family(),
    "hy_v3": Family(),
    "inkling": Family(window_period=6),
    "kimi-k3": Family(mla=True, recurrent_without_kv=True, mixer=True),
    "kimi-linear": Family(mla=True, recurrent_without_kv=True, mixer=True),
    "laguna": Family(window_period=4, window_first=True),
    "lfm2moe": Family(recurrent_without_kv=True, mixer=True),
    "llama": Family(),
    "llama4": Family(window_period=4, window=8192),
    "mellum": Family(window_period=4),
    "mimo2": Family(window_period=6),
    "minimax-m2": Family(),
    "minimax-m3": Family(indexer="experts"),
    "mistral3": Family(),
    "mistral4": Family(mla=True),
    "nemotron_h_moe": Family(recurrent_without_kv=True),
    "olmoe": Family(),
    "phimoe": Family(),
    "qwen2": Family(),
    "qwen2moe": Family(),
    "qwen3": Family(),
    "qwen3moe": Family(),
    "qwen3vlmoe": Family(),
    "qwen3next": Family(recurrent_period=4),
    "qwen35": Family(recurrent_period=4),
    "qwen35moe": Family(recurrent_period=4),
    "qwen4exp": Family(recurrent_period=4, indexer="attention", many_kernels=True),
    "smallthinker": Family(window_period=4, window_first=True),
    "step35": Family(window_period=4, window_first=True),
}
"""By `general.architecture`. Mixtral, Mistral and SmolLM are `llama`; Kimi-K2 and GLM-4.7-Flash are `deepseek2`."""
