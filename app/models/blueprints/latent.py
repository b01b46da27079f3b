"""Architectures of multi-head latent attention, with and without an indexer that chooses tokens."""

from __future__ import annotations

from app.models.blueprints.rows import (
    DENSE,
    EXPERTS,
    FFN_NORM,
    INDEXER,
    MIXED_STREAMS,
    MLA,
    NEXTN,
    ROUTER_BIAS,
    SHARED,
    SIGMOID,
    SINKHORN,
    Blueprint,
    compressor,
    norms,
    outside,
)

LATENT: dict[str, Blueprint] = {
    "deepseek2": Blueprint(
        full=(*MLA, *FFN_NORM),
        dense=DENSE,
        moe=(*EXPERTS, ROUTER_BIAS, *SHARED),
        outside=outside(),
    ),
    "deepseek32": Blueprint(
        full=(*MLA, *INDEXER, *FFN_NORM),
        dense=DENSE,
        moe=(*EXPERTS, ROUTER_BIAS, *SHARED),
        nextn=NEXTN,
        outside=outside(),
        metadata=SIGMOID,
    ),
    "deepseek4": Blueprint(
        every=(*norms("attn_norm", "ffn_norm"), *MIXED_STREAMS),
        full=(
            ("attn_sinks.weight", ("heads",)),
            ("attn_q_a.weight", ("d_model", "query_lora")),
            ("attn_q_a_norm.weight", ("query_lora",)),
            ("attn_q_b.weight", ("query_lora", "queries")),
            ("attn_kv.weight", ("d_model", "key_length")),
            ("attn_kv_a_norm.weight", ("key_length",)),
            ("attn_output_a.weight", ("group_mixed", "group_lora")),
            ("attn_output_b.weight", ("group_lora", "d_model")),
        ),
        moe=(*EXPERTS, *SHARED),
        others={
            "near": (
                *compressor("attn_compressor", "key_length_twice", "near", "key_length"),
                ("indexer.proj.weight", ("d_model", "index_heads")),
                ("indexer.attn_q_b.weight", ("query_lora", "index_queries")),
                *compressor("indexer_compressor", "index_length_twice", "near", "index_length"),
            ),
            "far": compressor("attn_compressor", "key_length", "far", "key_length"),
            "hashed": (("ffn_gate_tid2eid.weight", ("experts_used", "vocabulary")),),
            "scored": (ROUTER_BIAS,),
        },
        outside=(
            *outside(),
            ("output_hc_fn.weight", ("streams_wide", "streams")),
            ("output_hc_base.weight", ("streams",)),
            ("output_hc_scale.weight", ("one",)),
        ),
        letters={
            "w": ("full", "moe", "scored"),
            "n": ("full", "near", "moe", "scored"),
            "f": ("full", "far", "moe", "scored"),
            "W": ("full", "moe", "hashed"),
            "N": ("full", "near", "moe", "hashed"),
            "F": ("full", "far", "moe", "hashed"),
        },
        metadata={
            **SINKHORN,
            "expert_gating_func": 4,
            "expert_weights_scale": 1.5,
            "expert_weights_norm": True,
            "swiglu_clamp_exp": 10.0,
            "attention.compress_rope_freq_base": 160000.0,
            "rope.dimension_count": 64,
        },
    ),
    "glm-dsa": Blueprint(
        full=(*MLA, *FFN_NORM),
        dense=DENSE,
        moe=(*EXPERTS, ROUTER_BIAS, *SHARED),
        others={"indexer": INDEXER},
        nextn=NEXTN,
        nextn_parts=("full", "indexer", "moe"),
        outside=outside(),
        letters={"i": ("full", "indexer", "ffn"), "*": ("full", "ffn")},
    ),
    "mistral4": Blueprint(
        full=(*MLA, *FFN_NORM),
        dense=DENSE,
        moe=(*EXPERTS, *SHARED),
        outside=outside(),
    ),
}
