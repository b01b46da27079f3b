"""What moetune knows of each GGUF architecture, as data: one row each, no branches in the code that reads it.

Source: llama.cpp 0.5.0, `src/models/<architecture>.cpp` (`load_arch_hparams`).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.solver.model import LayerKind


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

    def pattern(self, period: int, layers: int, other: LayerKind) -> tuple[LayerKind, ...]:
        """`other` everywhere but in every `period`-th layer (llama.cpp: `il % n < n - 1`; 0 means everywhere)."""
        return tuple("full" if period and index % period == period - 1 else other for index in range(layers))


FAMILIES: dict[str, Family] = {
    "bailingmoe2": Family(),
    "deepseek2": Family(mla=True),
    "dots1": Family(),
    "ernie4_5-moe": Family(),
    "gemma3": Family(window_period=6),
    "gemma4": Family(window_period=6),
    "glm4moe": Family(),
    "gpt-oss": Family(window_period=2),
    "granitehybrid": Family(recurrent_without_kv=True, mixer=True),
    "granitemoe": Family(),
    "hunyuan-moe": Family(),
    "lfm2moe": Family(recurrent_without_kv=True, mixer=True),
    "llama": Family(),
    "llama4": Family(window_period=4, window=8192),
    "minimax-m2": Family(),
    "nemotron_h_moe": Family(recurrent_without_kv=True),
    "olmoe": Family(),
    "qwen2": Family(),
    "qwen2moe": Family(),
    "qwen3": Family(),
    "qwen3moe": Family(),
    "qwen3vlmoe": Family(),
    "qwen3next": Family(recurrent_period=4),
    "qwen35": Family(recurrent_period=4),
    "qwen35moe": Family(recurrent_period=4),
}
"""By `general.architecture`. Mixtral, Mistral and SmolLM are `llama`; Kimi-K2 and GLM-4.7-Flash are `deepseek2`."""
