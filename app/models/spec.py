"""A model described well enough to lay out its file: what `presets/models/*.toml` hold."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class YarnSpec:
    """How the rotary embedding was stretched beyond the length of first training."""

    factor: float
    original_context: int


@dataclass(frozen=True, slots=True)
class MlaSpec:
    """Multi-head latent attention: widths of the compressed rows, and of one head when they are expanded."""

    kv_lora: int
    rope: int
    nope: int
    """Of one head's key, the part without position."""
    value: int
    q_lora: int = 0
    """0: queries are not compressed."""


@dataclass(frozen=True, slots=True)
class RecurrentSpec:
    """Layers that keep a state in place of a cache: gated delta net, Mamba 2, or a short convolution."""

    conv_kernel: int
    interval: int = 0
    """Every n-th layer is attention; 0 where the model's `pattern` says."""
    inner: int = 0
    """0: a short convolution over the model's own width, no state besides."""
    state: int = 0
    groups: int = 0
    heads: int = 0
    """`ssm.time_step_rank`."""


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
    window_key_length: int = 0
    """Key and value length of one head there."""
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
    full_layers: int = 0
    """Layers of the whole model where this describes a slice of it, else 0."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where the numbers of each table of the preset come from."""

    def dimensions(self) -> dict[str, int]:
        """The lengths that tensor shapes are made of, by name; 0 for what the model does not have."""
        window_keys = self.window_key_length or self.key_length
        return {
            "one": 1,
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
            "window_queries": self.heads * window_keys,
            "window_keys": (self.window_kv_heads or self.kv_heads) * window_keys,
            "feed_forward": self.feed_forward,
            "experts": self.experts,
            "expert_ff": self.expert_ff,
            "expert_ff_twice": 2 * self.expert_ff,
            "expert_in": self.latent or self.d_model,
            "latent": self.latent,
            "shared_ff": self.shared_ff,
            **self._mla_dimensions(),
            **self._recurrent_dimensions(),
        }

    def _mla_dimensions(self) -> dict[str, int]:
        if self.mla is None:
            return {}
        mla = self.mla
        queries = self.heads * (mla.nope + mla.rope)
        return {
            "q_lora": mla.q_lora,
            "lora_queries": queries if mla.q_lora else 0,
            "direct_queries": 0 if mla.q_lora else queries,
            "kv_lora": mla.kv_lora,
            "kv_row": mla.kv_lora + mla.rope,
            "nope": mla.nope,
            "mla_value": mla.value,
            "mla_mixed": self.heads * mla.value,
        }

    def _recurrent_dimensions(self) -> dict[str, int]:
        if self.recurrent is None:
            return {}
        state = self.recurrent
        both = state.groups * state.state
        return {
            "conv_kernel": state.conv_kernel,
            "inner": state.inner,
            "state": state.state,
            "groups": state.groups,
            "inner_group": state.inner // max(state.groups, 1),
            "conv_channels": state.inner + 2 * both,
            "mamba_in": 2 * state.inner + 2 * both + state.heads,
            "time_heads": state.heads,
            "time_heads_twice": 2 * state.heads,
        }
