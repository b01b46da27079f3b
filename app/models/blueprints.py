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
    nextn: Rows = ()
    """What a NextN layer has besides a whole layer."""
    outside: Rows = ()
    letters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Letter of `ModelSpec.pattern` -> parts; `ffn` stands for `dense` or `moe`."""
    metadata: dict[str, object] = field(default_factory=dict)
    """Keys with one value for all models of the architecture that llama.cpp insists on."""


def _norms(*names: str) -> Rows:
    return tuple((f"{name}.weight", ("d_model",)) for name in names)


def _outside(norm: str = "output_norm") -> Rows:
    return (
        ("token_embd.weight", ("d_model", "vocabulary")),
        (f"{norm}.weight", ("d_model",)),
        ("output.weight", ("d_model", "head_vocabulary")),
    )


def _mlp(suffix: str, width: str) -> Rows:
    return (
        (f"ffn_gate{suffix}.weight", ("d_model", width)),
        (f"ffn_up{suffix}.weight", ("d_model", width)),
        (f"ffn_down{suffix}.weight", (width, "d_model")),
    )


def _biases(**widths: str) -> Rows:
    return tuple((f"{name}.bias", (width,)) for name, width in widths.items())


_QKV: Rows = (
    ("attn_q.weight", ("d_model", "queries")),
    ("attn_k.weight", ("d_model", "keys")),
    ("attn_v.weight", ("d_model", "values")),
)
_OUT: Row = ("attn_output.weight", ("mixed", "d_model"))
_ATTENTION: Rows = (*_norms("attn_norm"), *_QKV, _OUT)
_QK_NORM: Rows = (("attn_q_norm.weight", ("key_length",)), ("attn_k_norm.weight", ("key_length",)))
_WIDE_QK_NORM: Rows = (("attn_q_norm.weight", ("queries",)), ("attn_k_norm.weight", ("keys",)))
_QKV_BIAS = _biases(attn_q="queries", attn_k="keys", attn_v="values")
_FFN_NORM = _norms("ffn_norm")
_DENSE = _mlp("", "feed_forward")
_SHARED = _mlp("_shexp", "shared_ff")
_ROUTER: Row = ("ffn_gate_inp.weight", ("d_model", "experts"))
_ROUTER_BIAS: Row = ("exp_probs_b.bias", ("experts",))
_EXPERTS: Rows = (
    _ROUTER,
    ("ffn_gate_exps.weight", ("d_model", "expert_ff", "experts")),
    ("ffn_up_exps.weight", ("d_model", "expert_ff", "experts")),
    ("ffn_down_exps.weight", ("expert_ff", "d_model", "experts")),
)
_NEXTN: Rows = (
    ("nextn.eh_proj.weight", ("d_model_twice", "d_model")),
    *_norms("nextn.enorm", "nextn.hnorm", "nextn.shared_head_norm"),
    ("nextn.embed_tokens.weight", ("d_model", "nextn_vocabulary")),
    ("nextn.shared_head_head.weight", ("d_model", "nextn_vocabulary")),
)
_MLA: Rows = (
    *_norms("attn_norm"),
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
_GATED_ATTENTION: Rows = (("attn_q.weight", ("d_model", "queries_gated")), *_QKV[1:], _OUT, *_QK_NORM)
_DELTA_NET: Rows = (
    ("attn_qkv.weight", ("d_model", "conv_channels")),
    ("attn_gate.weight", ("d_model", "inner")),
    ("ssm_conv1d.weight", ("conv_kernel", "conv_channels")),
    ("ssm_dt.bias", ("time_heads",)),
    ("ssm_a", ("time_heads",)),
    ("ssm_norm.weight", ("state",)),
    ("ssm_out.weight", ("inner", "d_model")),
)
_ALPHA_BETA: Rows = (("ssm_beta.weight", ("d_model", "time_heads")), ("ssm_alpha.weight", ("d_model", "time_heads")))
_GATED_SHARED: Rows = (("ffn_gate_inp_shexp.weight", ("d_model",)), *_SHARED)
_AROUND = _norms("attn_norm", "post_attention_norm")
_GEMMA_NORMS = _norms("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
_MAMBA: Rows = (
    ("ssm_in.weight", ("d_model", "mamba_in")),
    ("ssm_conv1d.weight", ("conv_kernel", "conv_channels")),
    ("ssm_conv1d.bias", ("conv_channels",)),
    ("ssm_dt.bias", ("time_heads",)),
    ("ssm_a", ("one", "time_heads")),
    ("ssm_d", ("one", "time_heads")),
    ("ssm_norm.weight", ("inner_group", "groups")),
    ("ssm_out.weight", ("inner", "d_model")),
)
_SIGMOID: dict[str, object] = {"expert_gating_func": 2}
"""LLAMA_EXPERT_GATING_FUNC_TYPE_SIGMOID."""
_SECTIONS: dict[str, object] = {"rope.dimension_sections": (11, 11, 10, 0)}
"""Qwen3.5's `mrope_section`, and nothing for the fourth axis."""

ARCHITECTURES: dict[str, Blueprint] = {
    "bailingmoe2": Blueprint(
        every=_norms("attn_norm", "ffn_norm"),
        full=(("attn_qkv.weight", ("d_model", "fused_qkv")), _OUT, *_QK_NORM),
        dense=_DENSE,
        moe=(*_EXPERTS, _ROUTER_BIAS, *_SHARED),
        outside=_outside(),
        metadata=_SIGMOID,
    ),
    "deepseek2": Blueprint(
        full=(*_MLA, *_FFN_NORM),
        dense=_DENSE,
        moe=(*_EXPERTS, _ROUTER_BIAS, *_SHARED),
        outside=_outside(),
    ),
    "dots1": Blueprint(
        full=(*_ATTENTION, *_QK_NORM, *_FFN_NORM),
        dense=_DENSE,
        moe=(*_EXPERTS, _ROUTER_BIAS, *_SHARED),
        outside=_outside(),
        metadata=_SIGMOID,
    ),
    "ernie4_5-moe": Blueprint(
        full=(*_ATTENTION, *_FFN_NORM),
        dense=_DENSE,
        moe=(*_EXPERTS, _ROUTER_BIAS, *_SHARED),
        outside=_outside(),
    ),
    "gemma3": Blueprint(
        every=_GEMMA_NORMS,
        full=(*_QKV, _OUT, *_QK_NORM),
        dense=_DENSE,
        outside=_outside(),
    ),
    "gemma4": Blueprint(
        every=(*_GEMMA_NORMS, ("layer_output_scale.weight", ("one",))),
        full=(*_QKV[:2], _OUT, *_QK_NORM),  # keys are the values
        window=(
            ("attn_q.weight", ("d_model", "window_queries")),
            ("attn_k.weight", ("d_model", "window_keys")),
            ("attn_v.weight", ("d_model", "window_keys")),
            ("attn_output.weight", ("window_queries", "d_model")),
            ("attn_q_norm.weight", ("window_key_length",)),
            ("attn_k_norm.weight", ("window_key_length",)),
        ),
        window_period=6,
        dense=_DENSE,
        moe=(
            *_DENSE,
            _ROUTER,
            ("ffn_gate_inp.scale", ("d_model",)),
            *_norms("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"),
            ("ffn_gate_up_exps.weight", ("d_model", "expert_ff_twice", "experts")),
            ("ffn_down_exps.weight", ("expert_ff", "d_model", "experts")),
            ("ffn_down_exps.scale", ("experts",)),
        ),
        outside=(*_outside(), ("rope_freqs.weight", ("rope_factors",))),
        metadata={"embedding_length_per_layer_input": 0},
    ),
    "glm4moe": Blueprint(
        every=_AROUND,
        full=(*_QKV, *_QKV_BIAS, _OUT),
        dense=_DENSE,
        moe=(*_EXPERTS, _ROUTER_BIAS, *_SHARED),
        nextn=_NEXTN,
        outside=_outside(),
    ),
    "gpt-oss": Blueprint(
        full=(
            *_ATTENTION,
            *_QKV_BIAS,
            *_biases(attn_output="d_model"),
            ("attn_sinks.weight", ("heads",)),
            *_norms("post_attention_norm"),
        ),
        moe=(
            *_EXPERTS,
            ("ffn_gate_inp.bias", ("experts",)),
            ("ffn_gate_exps.bias", ("expert_ff", "experts")),
            ("ffn_up_exps.bias", ("expert_ff", "experts")),
            ("ffn_down_exps.bias", ("d_model", "experts")),
        ),
        outside=_outside(),
    ),
    "hunyuan-moe": Blueprint(
        full=(*_ATTENTION, *_QK_NORM, *_FFN_NORM),
        moe=(*_EXPERTS, *_SHARED),
        outside=_outside(),
    ),
    "lfm2moe": Blueprint(
        every=_norms("attn_norm", "ffn_norm"),
        full=(*_QKV, _OUT, *_QK_NORM),
        recurrent=(
            ("shortconv.conv.weight", ("conv_kernel", "d_model")),
            ("shortconv.in_proj.weight", ("d_model", "d_model_thrice")),
            ("shortconv.out_proj.weight", ("d_model", "d_model")),
        ),
        dense=_DENSE,
        moe=(*_EXPERTS, _ROUTER_BIAS),
        outside=_outside("token_embd_norm"),
        letters={"c": ("recurrent", "ffn"), "*": ("full", "ffn")},
        metadata=_SIGMOID,
    ),
    "llama": Blueprint(
        full=(*_ATTENTION, *_FFN_NORM),
        dense=_DENSE,
        moe=_EXPERTS,
        outside=_outside(),
    ),
    "llama4": Blueprint(
        full=(*_ATTENTION, *_FFN_NORM),
        dense=_DENSE,
        moe=(*_EXPERTS, *_SHARED),
        outside=_outside(),
    ),
    "minimax-m2": Blueprint(
        full=(*_ATTENTION, *_WIDE_QK_NORM, *_FFN_NORM),
        moe=(*_EXPERTS, _ROUTER_BIAS),
        outside=_outside(),
        metadata=_SIGMOID,
    ),
    "nemotron_h_moe": Blueprint(
        every=_norms("attn_norm"),
        full=(*_QKV, _OUT),
        recurrent=_MAMBA,
        moe=(
            _ROUTER,
            _ROUTER_BIAS,
            ("ffn_latent_down.weight", ("d_model", "latent")),
            ("ffn_latent_up.weight", ("latent", "d_model")),
            ("ffn_up_exps.weight", ("expert_in", "expert_ff", "experts")),
            ("ffn_down_exps.weight", ("expert_ff", "expert_in", "experts")),
            *_SHARED[1:],
        ),
        outside=_outside(),
        letters={"M": ("recurrent",), "E": ("moe",), "*": ("full",)},
        metadata={"attention.layer_norm_epsilon": 1e-5},
    ),
    "olmoe": Blueprint(full=(*_ATTENTION, *_WIDE_QK_NORM, *_FFN_NORM), moe=_EXPERTS, outside=_outside()),
    "qwen2": Blueprint(full=(*_ATTENTION, *_QKV_BIAS), dense=(*_FFN_NORM, *_DENSE), outside=_outside()),
    "qwen3": Blueprint(full=(*_ATTENTION, *_QK_NORM, *_FFN_NORM), dense=_DENSE, outside=_outside()),
    "qwen3moe": Blueprint(full=(*_ATTENTION, *_QK_NORM, *_FFN_NORM), moe=_EXPERTS, outside=_outside()),
    "qwen3next": Blueprint(
        every=_AROUND,
        full=_GATED_ATTENTION,
        recurrent=(*_DELTA_NET, ("ssm_ba.weight", ("d_model", "time_heads_twice"))),
        moe=(*_EXPERTS, *_GATED_SHARED),
        outside=_outside(),
    ),
    "qwen35": Blueprint(
        every=_AROUND,
        full=_GATED_ATTENTION,
        recurrent=(*_DELTA_NET, *_ALPHA_BETA),
        dense=_DENSE,
        outside=_outside(),
        metadata=_SECTIONS,
    ),
    "qwen35moe": Blueprint(
        every=_AROUND,
        full=_GATED_ATTENTION,
        recurrent=(*_DELTA_NET, *_ALPHA_BETA),
        moe=(*_EXPERTS, *_GATED_SHARED),
        outside=_outside(),
        metadata=_SECTIONS,
    ),
}
"""By `general.architecture`."""
