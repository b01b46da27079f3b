"""The tensors of each architecture, as data: names, and dimensions by the names of `ModelSpec.dimensions`.

A tensor with a dimension of zero is one that the model does not have. Source of names, shapes and order of dimensions:
llama.cpp 0.5.0, `src/models/<architecture>.cpp` (`load_arch_tensors`), `src/llama-arch.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Row = tuple[str, tuple[str, ...]]
"""Name, dimensions in ggml's order (the row length first)."""
Rows = tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """The parts that a layer of an architecture is made of."""

    full: Rows
    """Attention that sees everything."""
    dense: Rows = ()
    moe: Rows = ()
    every: Rows = ()
    """In every layer, whatever else it has."""
    window: Rows = ()
    """Sliding-window attention where its tensors differ from `full`."""
    window_period: int = 0
    """Every n-th layer is `full`, the others are `window`."""
    recurrent: Rows = ()
    others: Mapping[str, Rows] = field(default_factory=dict)
    """More parts, which `letters` name."""
    nextn: Rows = ()
    """What a NextN layer has besides a whole layer."""
    nextn_parts: tuple[str, ...] = ("full", "ffn")
    """The parts of that layer."""
    outside: Rows = ()
    letters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Letter of `ModelSpec.pattern` -> parts; `ffn` stands for `dense` or `moe`."""
    metadata: dict[str, object] = field(default_factory=dict)
    """Keys with one value for all models of the architecture that llama.cpp insists on."""
    kept: tuple[tuple[str, str], ...] = ()
    """Part of a tensor's name -> the type that converter and llama-quantize leave it, whatever the mixture."""
    loadable: bool = True
    """Whether llama.cpp knows the architecture: of one that it does not, only names of tensors are made up."""


def norms(*names: str) -> Rows:
    """Norms over the model's width."""
    return tuple((f"{name}.weight", ("d_model",)) for name in names)


def outside(norm: str = "output_norm") -> Rows:
    """Embedding table, last norm and output matrix."""
    return (
        ("token_embd.weight", ("d_model", "vocabulary")),
        (f"{norm}.weight", ("d_model",)),
        ("output.weight", ("d_model", "head_vocabulary")),
    )


def mlp(suffix: str, width: str) -> Rows:
    """A gated feed-forward network."""
    return (
        (f"ffn_gate{suffix}.weight", ("d_model", width)),
        (f"ffn_up{suffix}.weight", ("d_model", width)),
        (f"ffn_down{suffix}.weight", (width, "d_model")),
    )


def biases(**widths: str) -> Rows:
    """Biases by tensor and width."""
    return tuple((f"{name}.bias", (width,)) for name, width in widths.items())


QKV: Rows = (
    ("attn_q.weight", ("d_model", "queries")),
    ("attn_k.weight", ("d_model", "keys")),
    ("attn_v.weight", ("d_model", "values")),
)
OUT: Row = ("attn_output.weight", ("mixed", "d_model"))
ATTENTION: Rows = (*norms("attn_norm"), *QKV, OUT)
QK_NORM: Rows = (("attn_q_norm.weight", ("key_length",)), ("attn_k_norm.weight", ("key_length",)))
WIDE_QK_NORM: Rows = (("attn_q_norm.weight", ("queries",)), ("attn_k_norm.weight", ("keys",)))
QKV_BIAS = biases(attn_q="queries", attn_k="keys", attn_v="values")
FFN_NORM = norms("ffn_norm")
DENSE = mlp("", "feed_forward")
SHARED = mlp("_shexp", "shared_ff")
ROUTER: Row = ("ffn_gate_inp.weight", ("d_model", "experts"))
ROUTER_BIAS: Row = ("exp_probs_b.bias", ("experts",))
EXPERTS: Rows = (
    ROUTER,
    ("ffn_gate_exps.weight", ("d_model", "expert_ff", "experts")),
    ("ffn_up_exps.weight", ("d_model", "expert_ff", "experts")),
    ("ffn_down_exps.weight", ("expert_ff", "d_model", "experts")),
)
NEXTN: Rows = (
    ("nextn.eh_proj.weight", ("d_model_twice", "d_model")),
    *norms("nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm"),
    ("nextn.embed_tokens.weight", ("d_model", "nextn_vocabulary")),
    ("nextn.shared_head_head.weight", ("d_model", "nextn_vocabulary")),
)
MLA: Rows = (
    *norms("attn_norm"),
    ("attn_q_a_norm.weight", ("q_lora",)),
    ("attn_kv_a_norm.weight", ("kv_lora",)),
    ("attn_q.weight", ("d_model", "direct_queries")),
    ("attn_q_a.weight", ("d_model", "q_lora")),
    ("attn_q_b.weight", ("q_lora", "lora_queries")),
    ("attn_kv_a_mqa.weight", ("d_model", "kv_row")),
    ("attn_k_b.weight", ("nope", "kv_lora", "heads")),
    ("attn_v_b.weight", ("kv_lora", "mla_value", "heads")),
    ("attn_output.weight", ("mla_mixed", "d_model")),
)
GATED_ATTENTION: Rows = (("attn_q.weight", ("d_model", "queries_gated")), *QKV[1:], OUT, *QK_NORM)
DELTA_NET: Rows = (
    ("attn_qkv.weight", ("d_model", "conv_channels")),
    ("attn_gate.weight", ("d_model", "inner")),
    ("ssm_conv1d.weight", ("conv_kernel", "conv_channels")),
    ("ssm_dt.bias", ("time_heads",)),
    ("ssm_a", ("time_heads",)),
    ("ssm_norm.weight", ("state",)),
    ("ssm_out.weight", ("inner", "d_model")),
)
ALPHA_BETA: Rows = (("ssm_beta.weight", ("d_model", "time_heads")), ("ssm_alpha.weight", ("d_model", "time_heads")))
GATED_SHARED: Rows = (("ffn_gate_inp_shexp.weight", ("d_model",)), *SHARED)
AROUND = norms("attn_norm", "post_attention_norm")
GEMMA_NORMS = norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
MAMBA: Rows = (
    ("ssm_in.weight", ("d_model", "mamba_in")),
    ("ssm_conv1d.weight", ("conv_kernel", "conv_channels")),
    ("ssm_conv1d.bias", ("conv_channels",)),
    ("ssm_dt.bias", ("time_heads",)),
    ("ssm_a", ("one", "time_heads")),
    ("ssm_d", ("one", "time_heads")),
    ("ssm_norm.weight", ("inner_group", "groups")),
    ("ssm_out.weight", ("inner", "d_model")),
)
SIGMOID: dict[str, object] = {"expert_gating_func": 2}
"""LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID."""
SECTIONS: dict[str, object] = {"rope.dimension_sections": (11, 11, 10, 0)}
"""Qwen3.5's `mrope_section`, and nothing for the fourth axis."""

SINKHORN: dict[str, object] = {"hyper_connection.sinkhorn_iterations": 20, "hyper_connection.epsilon": 1e-6}
"""How streams are mixed (DeepSeek V4's `hc_sinkhorn_iters` and `hc_eps`); neither changes what it costs."""
SANDWICH = norms("post_attention_norm", "ffn_norm", "post_ffw_norm")
WINDOW_QKV: Rows = (
    ("attn_q.weight", ("d_model", "window_queries")),
    ("attn_k.weight", ("d_model", "window_keys")),
    ("attn_v.weight", ("d_model", "window_values")),
    ("attn_output.weight", ("window_mixed", "d_model")),
)
GATE_OF_HEADS: Row = ("attn_gate.weight", ("d_model", "heads"))
GATE_OF_WINDOW_HEADS: Row = ("attn_gate.weight", ("d_model", "window_heads"))
WINDOW_LETTERS: Mapping[str, tuple[str, ...]] = {"w": ("window", "ffn"), "*": ("full", "ffn")}
SHORT_CONVOLUTIONS: Rows = (
    ("shortconv_k.weight", ("conv_kernel", "keys")),
    ("shortconv_v.weight", ("conv_kernel", "values")),
    ("shortconv_attn.weight", ("conv_kernel", "d_model")),
    ("shortconv_ffn.weight", ("conv_kernel", "d_model")),
)
INDEXER: Rows = (
    ("indexer.k_norm.weight", ("index_length",)),
    ("indexer.k_norm.bias", ("index_length",)),
    ("indexer.proj.weight", ("d_model", "index_heads")),
    ("indexer.attn_k.weight", ("d_model", "index_length")),
    ("indexer.attn_q_b.weight", ("q_lora", "index_queries")),
)
BLOCK_INDEXER: Rows = (
    ("indexer.q_proj.weight", ("d_model", "index_queries")),
    ("indexer.k_proj.weight", ("d_model", "index_length")),
    ("indexer.q_norm.weight", ("index_length",)),
    ("indexer.k_norm.weight", ("index_length",)),
)
POOLED_KEYS: Rows = (
    ("indexer_compressor_gate.weight", ("d_model", "index_length")),
    ("indexer_compressor_ape.weight", ("index_length", "index_pool")),
)
MIXED_STREAMS: Rows = tuple(
    row
    for part in ("attn", "ffn")
    for row in (
        (f"hc_{part}_fn.weight", ("streams_wide", "stream_mix")),
        (f"hc_{part}_base.weight", ("stream_mix",)),
        (f"hc_{part}_scale.weight", ("three",)),
    )
)
LOW_RANK_STREAMS: Rows = tuple(
    row
    for part in ("attn", "ffn")
    for row in (
        (f"hc_{part}_norm.weight", ("streams_wide",)),
        (f"hc_{part}_down.weight", ("streams_wide", "stream_rank")),
        (f"hc_{part}_up.weight", ("stream_rank", "streams_wide")),
        (f"hc_{part}_inject.weight", ("streams_wide", "streams")),
    )
)
KDA: Rows = (
    *((f"ssm_conv1d_{part}.weight", ("conv_kernel", "one", "kda_inner", "one")) for part in "qkv"),
    *((f"attn_{part}.weight", ("d_model", "kda_inner")) for part in "qkv"),
    ("ssm_beta.weight", ("d_model", "heads")),
    ("ssm_a", ("one", "heads")),
    ("ssm_dt.bias", ("kda_inner",)),
    ("ssm_norm.weight", ("kda_length",)),
    ("attn_output.weight", ("kda_inner", "d_model")),
)
FLAT_KDA: Rows = tuple(("ssm_a", ("heads",)) if row[0] == "ssm_a" else row for row in KDA)
"""The same where the decay has one dimension."""
KDA_LOW_RANK: Rows = (("ssm_f_a.weight", ("d_model", "kda_length")), ("ssm_f_b.weight", ("kda_length", "kda_inner")))
KDA_GATE_OUT: Row = ("ssm_g_b.weight", ("kda_length", "kda_inner"))
KDA_LETTERS: Mapping[str, tuple[str, ...]] = {"k": ("recurrent", "ffn"), "*": ("full", "ffn")}


def compressor(stem: str, width: str, ratio: str, row: str) -> Rows:
    """What makes one cached row of several tokens'."""
    return (
        (f"{stem}_kv.weight", ("d_model", width)),
        (f"{stem}_gate.weight", ("d_model", width)),
        (f"{stem}_ape.weight", (width, ratio)),
        (f"{stem}_norm.weight", (row,)),
    )
