"""What a tensor is for, read off its name.

Source: llama.cpp 0.5.0, `src/llama-arch.cpp` (LLM_TENSOR_NAMES).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

TensorClass = Literal["embedding", "lookup", "head", "attention", "norm", "router", "shared", "dense", "experts"]

_STEMS: dict[str, TensorClass] = {
    "ffn_gate_inp": "router",
    "ffn_gate_tid2eid": "router",
    "exp_probs_b": "router",
    "ffn_gate_inp_shexp": "shared",
    **dict.fromkeys((f"ffn_{part}_exps" for part in ("gate", "up", "down", "gate_up")), "experts"),
    **dict.fromkeys((f"ffn_{part}_chexps" for part in ("gate", "up", "down")), "experts"),
    **dict.fromkeys((f"ffn_{part}_shexp" for part in ("gate", "up", "down")), "shared"),
    **dict.fromkeys((f"ffn_{part}" for part in ("gate", "up", "down")), "dense"),
}
_OUTSIDE: dict[str, TensorClass] = {"token_embd.weight": "embedding", "per_layer_token_embd.weight": "lookup"}
_BLOCK = re.compile(r"blk\.(\d{1,4})\.([^.]+)(\.\d+)?(?:\.|$)")
_NORM = re.compile(r"norm(_\d)?$")


@lru_cache(maxsize=16_384)
def place_of(name: str) -> tuple[int | None, TensorClass]:
    """The layer a tensor belongs to (None: to the whole model) and what it is for.

    What is in a layer and unknown counts as attention: resident on the fast device, never an expert. What is
    outside the layers and no table of rows is read for every token like the head.
    """
    match = _BLOCK.match(name)
    if match is None:
        return None, _OUTSIDE.get(name, "head")
    layer, stem = int(match[1]), match[2]
    if match[3] and stem in ("ffn_gate", "ffn_up", "ffn_down"):
        return layer, "experts"  # one tensor per expert, as Mixtral's first conversions have it
    if stem in _STEMS:
        return layer, _STEMS[stem]
    return layer, "norm" if _NORM.search(stem) else "attention"
