"""A model described well enough to lay out its file: what `presets/models/*.toml` hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from app.models.mechanisms import (
    CompressionSpec,
    IndexerSpec,
    KdaSpec,
    LookupSpec,
    MlaSpec,
    RecurrentSpec,
    StreamSpec,
    YarnSpec,
)

__all__ = ["MlaSpec", "ModelSpec", "RecurrentSpec", "YarnSpec"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The dimensions of a model, and how its file is quantized."""

    id: str
    """The preset's file stem."""
    name: str
    architecture: str
    """A key of `blueprints.ARCHITECTURES`."""
    quantization: str
    """A key of `quantization.MIXTURES`; the preset's is that of the file most people run."""
    layers: int
    """Of the trunk, without NextN layers."""
    d_model: int
    vocabulary: int
    context_length: int
    heads: int
    kv_heads: int
    key_length: int
    value_length: int
    feed_forward: int = 0
    """Inner width of a dense feed-forward network, `feed_forward_length` of the metadata."""
    norm_epsilon: float = 1e-6
    rope_base: float = 10000.0
    """Neither this nor `norm_epsilon` changes what a model costs."""
    tied: bool = False
    """The output matrix is the embedding table."""
    nextn: int = 0
    """Multi-token prediction layers after the trunk that published files hold."""
    nextn_tables: bool = False
    """They have an embedding table and a head of their own."""
    pattern: str = ""
    """One letter per layer where layers differ in kind (`Blueprint.letters`)."""
    window: int = 0
    """Sliding window in tokens, 0 without one."""
    window_kv_heads: int = 0
    """KV heads of the sliding-window layers where they differ from the others'."""
    window_heads: int = 0
    """Query heads there, where they differ."""
    window_key_length: int = 0
    """Key length of one head there, and its value length where `value_length` is `key_length`."""
    experts: int = 0
    experts_used: int = 0
    expert_ff: int = 0
    shared_experts: int = 0
    shared_ff: int = 0
    """Inner width of all shared experts together."""
    dense_lead: int = 0
    """Leading layers without experts."""
    moe_step: int = 1
    """Every n-th layer has experts."""
    latent: int = 0
    """Width at which the routed experts work where it is not the model's."""
    yarn: YarnSpec | None = None
    mla: MlaSpec | None = None
    recurrent: RecurrentSpec | None = None
    kda: KdaSpec | None = None
    indexer: IndexerSpec | None = None
    streams: StreamSpec | None = None
    compression: CompressionSpec | None = None
    lookup: LookupSpec | None = None
    full_layers: int = 0
    """Layers of the whole model where this describes a slice of it, else 0."""
    aliases: tuple[str, ...] = ()
    """More names that people and files use for it; fine-tunes of the same shape are among them."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where the numbers of each table of the preset come from."""

    def dimensions(self) -> dict[str, int]:
        """The lengths that tensor shapes are made of, by name; 0 for what the model does not have."""
        window_keys = self.window_key_length or self.key_length
        window_values = self.window_key_length or self.value_length
        window_heads = self.window_heads or self.heads
        window_kv = self.window_kv_heads or self.kv_heads
        return {
            "one": 1,
            "three": 3,
            "d_model": self.d_model,
            "d_model_twice": 2 * self.d_model,
            "d_model_thrice": 3 * self.d_model,
            "vocabulary": self.vocabulary,
            "head_vocabulary": 0 if self.tied else self.vocabulary,
            "nextn_vocabulary": self.vocabulary if self.nextn_tables else 0,
            "heads": self.heads,
            "key_length": self.key_length,
            "queries": self.heads * self.key_length,
            "queries_gated": 2 * self.heads * self.key_length,
            "keys": self.kv_heads * self.key_length,
            "values": self.kv_heads * self.value_length,
            "mixed": self.heads * self.value_length,
            "fused_qkv": (self.heads + self.kv_heads) * self.key_length + self.kv_heads * self.value_length,
            "rope_factors": self.key_length // 2,
            "window_key_length": window_keys,
            "window_heads": window_heads,
            "window_queries": window_heads * window_keys,
            "window_mixed": window_heads * window_values,
            "window_keys": window_kv * window_keys,
            "window_values": window_kv * window_values,
            "feed_forward": self.feed_forward,
            "experts": self.experts,
            "experts_used": self.experts_used,
            "expert_ff": self.expert_ff,
            "expert_ff_twice": 2 * self.expert_ff,
            "expert_in": self.latent or self.d_model,
            "latent": self.latent,
            "shared_ff": self.shared_ff,
            **self._mechanisms(),
        }

    def _mechanisms(self) -> dict[str, int]:
        """The lengths that come of what the model has besides plain attention."""
        found: dict[str, int] = {}
        if self.mla:
            found |= self.mla.dimensions(self.heads)
        if self.recurrent:
            found |= self.recurrent.dimensions()
        if self.kda:
            found |= self.kda.dimensions(self.heads)
        if self.indexer:
            found |= self.indexer.dimensions()
        if self.streams:
            found |= self.streams.dimensions(self.d_model)
        if self.compression:
            found |= self.compression.dimensions(self.heads, self.key_length)
        if self.lookup:
            found |= self.lookup.dimensions()
        return found
