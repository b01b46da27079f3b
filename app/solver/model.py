"""What the solver needs to know of a model and of the work it is to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LayerKind = Literal["full", "swa", "recurrent", "none"]
"""How a layer remembers: full attention, sliding window, a recurrent state, or not at all."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """One transformer block: its weight bytes by tensor class, and what it adds to the KV cache."""

    attention_bytes: int
    """Attention or state-space weights, sinks and biases."""
    norm_bytes: int
    router_bytes: int
    shared_bytes: int
    """Shared experts, read for every token."""
    dense_bytes: int
    """A dense feed-forward network (leading layers, dense models)."""
    expert_bytes: int
    """All routed experts of the layer together."""
    kind: LayerKind = "full"
    kv_heads: int = 0
    key_length: int = 0
    """Elements of one head's key; for MLA the cached latent row."""
    value_length: int = 0
    """Elements of one head's value; 0 where only keys are kept (MLA)."""
    state_bytes: int = 0
    """Recurrent state of one sequence."""
    index_length: int = 0
    """Elements that the layer caches for every token of the context besides: an indexer's keys, compressed rows.
    They have the type of the keys."""

    resident_weights: int = 0
    """Elements of everything but the routed experts: what a prompt multiplies; 0 where only the bytes are known."""
    attention_flops: int = 0
    """Operations for each token that one token looks at: scores and mixing of all query heads (2 x heads x (key +
    value), MLA on the compressed rows); 0 in a layer without attention."""
    many_kernels: bool = False
    """Made of many small operations: linear attention, state-space layers, Gemma 4's, hyper-connections."""
    expert_weights: int = 0
    """Elements of all routed experts of the layer together; 0 where only the bytes are known."""

    @property
    def resident_bytes(self) -> int:
        """Everything but the routed experts: what follows the attention device."""
        return self.attention_bytes + self.norm_bytes + self.router_bytes + self.shared_bytes + self.dense_bytes

    @property
    def weight_bytes(self) -> int:
        """All weights of the layer."""
        return self.resident_bytes + self.expert_bytes


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model as the solver sees it. Byte counts are those of the file at hand, exact."""

    name: str
    architecture: str
    """The GGUF architecture, such as `gpt-oss`."""
    layers: tuple[LayerShape, ...]
    embedding_bytes: int
    """The input embedding table: one row is read per token; llama.cpp keeps it on the host."""
    head_bytes: int
    """The output matrix and final norm, read for every token; a tied model's copy of the table."""
    head_tied: bool
    """The output matrix is the embedding table: the engine loads it a second time where the head computes."""
    vocabulary: int
    d_model: int
    heads: int
    expert_count: int
    expert_used: int
    expert_ff: int
    """Inner width of one routed expert."""
    window: int
    """Sliding window in tokens, 0 without one."""
    context_length: int
    """Tokens the model was trained for."""
    file_bytes: int
    quantization: str
    """The file's own words, such as `MXFP4 MoE`, or its dominant type."""
    split_count: int = 1
    expert_matrices: int = 3
    """Matrices of one routed expert: gate, up and down, or two."""
    expert_width: int = 0
    """Width of what an expert is given, `d_model` or that of the model's latent space; 0: not known."""
    head_weights: int = 0
    """Elements of the output matrix."""
    nextn_layers: int = 0
    """Layers for multi-token prediction that the file holds and `layers` does not."""
    nextn_bytes: int = 0
    """Their weights; loaded only where they draft."""
    lookup_bytes: int = 0
    """Tables of which a few rows are read for each token (per-layer embeddings); llama.cpp keeps them on the host."""

    @property
    def is_moe(self) -> bool:
        """Whether any layer has routed experts."""
        return self.expert_count > 1 and any(layer.expert_bytes for layer in self.layers)

    @property
    def expert_bytes(self) -> int:
        """All routed experts of all layers."""
        return sum(layer.expert_bytes for layer in self.layers)

    @property
    def resident_bytes(self) -> int:
        """What every token reads whatever the routing, the head included, the embedding table not."""
        return sum(layer.resident_bytes for layer in self.layers) + self.head_bytes

    @property
    def active_bytes(self) -> float:
        """Weight bytes that one token reads at batch 1."""
        share = self.expert_used / self.expert_count if self.expert_count else 0.0
        return self.resident_bytes + self.expert_bytes * share


KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

Objective = Literal["turn", "throughput", "context"]
"""What is best: the shortest turn (prompt and answer) of one user, most tokens of all users together, or the longest
context at a decode speed that is still usable."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What the plan is for."""

    context: int = 8192
    """Tokens of context for each sequence."""
    parallel: int = 1
    """Sequences served at once."""
    prompt_tokens: int = 1024
    output_tokens: int = 512
    objective: Objective = "turn"
    floor_tps: float = 10.0
    """Decode speed below which nobody waits for an answer; what the objective `context` keeps. 10 t/s is where
    people stop finding a chat usable (reports collected from users of such machines)."""

    @property
    def mean_context(self) -> int:
        """Tokens in the cache in the middle of an answer."""
        return min(self.context, self.prompt_tokens + self.output_tokens // 2)


@dataclass(frozen=True, slots=True)
class Policy:
    """What the person decided; everything left open is the solver's to choose."""

    devices: tuple[str, ...] | None = None
    """Ids of the devices that may be used; `None`: all."""
    limits: tuple[tuple[str, int], ...] = ()
    """Most bytes to use on a device, by id."""
    reserve_bytes: int | None = None
    """Bytes to leave alone on every device; `None`: the solver's own reserves."""
    kv_type: KvType | None = None
    """`None`: f16, or q8_0 where that lets a faster placement fit."""
    ubatch: int | None = None
    threads: int | None = None
    load_mode: str | None = None
    runtimes: tuple[str, ...] = ("llama.cpp",)
    """Which runtimes the plan may be for: `llama.cpp`, `ktransformers`."""
    repacks: bool = True
    """Whether the engine can repack weights for the CPU (`--no-host`)."""
    kt_method: str | None = None
    """Only this way of computing experts (`AMXINT8`, `BF16` ...); `None`: the fastest that KTransformers has."""
    draft_tokens: int | None = None
    """`None`: the solver's choice; 0: no drafting by the model's own NextN layers."""

    def limit(self, device_id: str) -> int | None:
        """The person's limit for that device."""
        return dict(self.limits).get(device_id)
