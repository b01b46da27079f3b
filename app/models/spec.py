"""A model described well enough to lay out its file: what `presets/models/*.toml` hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

TypeRole = Literal["embedding", "head", "attention", "experts", "router", "more_bits"]
"""What a weight type is chosen for; `more_bits` is the larger type that K-quant mixtures give some layers."""


@dataclass(frozen=True, slots=True)
class YarnSpec:
    """How the rotary embedding was stretched beyond the length of first training."""

    factor: float
    original_context: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The dimensions of a model and the tensor types of its usual file."""

    id: str
    """The preset's file stem."""
    name: str
    architecture: str
    """A key of `architectures.ARCHITECTURES`."""
    layers: int
    d_model: int
    vocabulary: int
    context_length: int
    feed_forward: int
    """`feed_forward_length` of the metadata; the experts' own width is `expert_ff`."""
    heads: int
    kv_heads: int
    key_length: int
    value_length: int
    norm_epsilon: float
    rope_base: float
    experts: int
    experts_used: int
    expert_ff: int
    file_type: int
    """`general.file_type`."""
    types: dict[TypeRole, str]
    window: int = 0
    """Sliding window in tokens, 0 without one."""
    yarn: YarnSpec | None = None
    full_layers: int = 0
    """Layers of the whole model where this describes a slice of it, else 0."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where the numbers of each table of the preset come from."""

    def dimensions(self) -> dict[str, int]:
        """The lengths that tensor shapes are made of, by name."""
        lengths: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("d_model", "vocabulary", "heads", "key_length", "value_length", "experts", "expert_ff")
        }
        return lengths | {
            "queries": self.heads * self.key_length,
            "keys": self.kv_heads * self.key_length,
            "values": self.kv_heads * self.value_length,
            "mixed": self.heads * self.value_length,
        }
