"""Under which names the `config.json` files of Hugging Face keep a model's dimensions.

Sources: llama.cpp 0.5.0, `conversion/*.py` (what the converter reads for each architecture); transformers 5.23.0,
`configuration_*.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

MODEL_TYPES: Mapping[str, str] = {
    "afmoe": "afmoe",
    "bailing_hybrid": "bailingmoe3",
    "bailing_moe": "bailingmoe2",
    "bailing_moe_v2": "bailingmoe2",
    "bailing_moe_v3": "bailingmoe3",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "deepseek_v32": "deepseek32",
    "deepseek_v4": "deepseek4",
    "dots1": "dots1",
    "ernie4_5_moe": "ernie4_5-moe",
    "gemma3": "gemma3",
    "gemma4": "gemma4",
    "glm4_moe": "glm4moe",
    "glm4_moe_lite": "deepseek2",
    "glm4v_moe": "glm4moe",
    "glm5_next": "glm5-next",
    "glm_moe_dsa": "glm-dsa",
    "gpt_oss": "gpt-oss",
    "granitemoe": "granitemoe",
    "granitemoehybrid": "granitehybrid",
    "granitemoeshared": "granitemoe",
    "grok-1": "grok",
    "grok": "grok",
    "hunyuan_v1_moe": "hunyuan-moe",
    "hunyuan": "hunyuan-moe",
    "hy_v3": "hy_v3",
    "inkling": "inkling",
    "kimi_k2": "deepseek2",
    "kimi_k25": "deepseek2",
    "kimi_k3": "kimi-k3",
    "kimi_linear": "kimi-linear",
    "laguna": "laguna",
    "lfm2_moe": "lfm2moe",
    "llama": "llama",
    "llama4": "llama4",
    "mellum": "mellum",
    "mimo_v2": "mimo2",
    "mimo_v2_flash": "mimo2",
    "minimax_m2": "minimax-m2",
    "minimax_m3": "minimax-m3",
    "minimax_m3_sparse": "minimax-m3",
    "ministral3": "mistral3",
    "mistral": "llama",
    "mistral3": "mistral3",
    "mistral4": "mistral4",
    "mixtral": "llama",
    "nemotron_h": "nemotron_h_moe",
    "olmoe": "olmoe",
    "phimoe": "phimoe",
    "qwen2": "qwen2",
    "qwen2_moe": "qwen2moe",
    "qwen3": "qwen3",
    "qwen3_5": "qwen35",
    "qwen3_5_moe": "qwen35moe",
    "qwen3_moe": "qwen3moe",
    "qwen3_next": "qwen3next",
    "qwen3_omni_moe": "qwen3vlmoe",
    "qwen3_vl_moe": "qwen3vlmoe",
    "qwen4_exp": "qwen4exp",
    "smallthinker": "smallthinker",
    "solar_open": "glm4moe",
    "step3p5": "step35",
    "step3p7": "step35",
}
"""`model_type`, without a `_text` at its end -> GGUF architecture."""

NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
"""Where a model with towers keeps its language model; looked into again for what is in it."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "num_layers", "n_layer"),
    "d_model": ("hidden_size", "n_embd", "dim", "d_model"),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "context_length": ("max_position_embeddings", "model_max_length", "n_positions", "max_sequence_length"),
    "heads": ("num_attention_heads", "n_head", "n_heads"),
    "kv_heads": ("num_global_key_value_heads", "num_key_value_heads", "num_attention_groups", "n_kv_heads"),
    "key_length": ("global_head_dim", "head_dim"),
    "feed_forward": ("intermediate_size_mlp", "dense_intermediate_size", "intermediate_size", "ffn_hidden_size"),
    "window": ("sliding_window", "attention_chunk_size", "sliding_window_size"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "moe_num_primary_experts"),
    "experts_used": (
        "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "experts_per_token", "moe_k", "moe_topk",
        "moe_top_k", "moe_num_active_primary_experts",
    ),
    "expert_ff": (
        "moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size",
        "intermediate_size",
    ),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"),
    "shared_ff": (
        "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size",
        "share_expert_dim",
    ),
    "latent": ("moe_latent_size", "routed_expert_hidden_size"),
    "moe_step": ("interleave_moe_layer_step", "decoder_sparse_step"),
    "nextn": ("num_nextn_predict_layers", "mtp_num_hidden_layers"),
}  # fmt: skip
"""Field of `ModelSpec` -> keys, the first that is there counts."""

LETTERS: Mapping[str, Mapping[str, str]] = {
    "glm5-next": {"linear_attention": "k", "full_attention": "*"},
    "granitehybrid": {"mamba": "M", "attention": "*"},
    "laguna": {"sliding_attention": "w", "full_attention": "*"},
    "lfm2moe": {"conv": "c", "full_attention": "*"},
    "qwen4exp": {"linear_attention": "d", "full_attention": "*"},
    "step35": {"sliding_attention": "w", "full_attention": "*"},
}
"""Architecture -> word of `layer_types` -> letter of `ModelSpec.pattern`."""
