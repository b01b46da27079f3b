"""Whether the numbers of a spec fit together."""

from __future__ import annotations

from app.models.blueprints import ARCHITECTURES
from app.models.quantization import MIXTURES
from app.models.spec import ModelSpec

_NEEDED = ("layers", "d_model", "vocabulary", "heads", "kv_heads", "key_length", "moe_step")


def nonsense(spec: ModelSpec) -> str | None:
    """What is wrong with these numbers, None where nothing is."""
    if spec.architecture not in ARCHITECTURES:
        return f"unknown architecture {spec.architecture}; known are {', '.join(ARCHITECTURES)}"
    if spec.quantization not in MIXTURES:
        return f"unknown quantization {spec.quantization}; known are {', '.join(MIXTURES)}"
    if small := [name for name in _NEEDED if getattr(spec, name) < 1]:
        return f"{small[0]} must be at least 1"
    if negative := [name for name, length in spec.dimensions().items() if length < 0]:
        return f"{negative[0]} must not be negative"
    if spec.experts and not 1 <= spec.experts_used <= spec.experts:
        return "experts_used must be at least 1 and experts_used at most experts"
    letters = ARCHITECTURES[spec.architecture].letters
    if len(spec.pattern) != (spec.layers if letters else 0) or not set(spec.pattern) <= set(letters):
        return f"pattern must be one of {' '.join(letters) or 'no letter'} for each layer"
    return None
