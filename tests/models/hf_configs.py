"""What the `config.json` files of published models say, as far as it decides their shape."""

from __future__ import annotations

from typing import Any


def _uses(layers: int, heads: int, kv_heads: int, d_model: int, vocabulary: int, context: int) -> dict[str, Any]:
    """The keys that nearly all have."""
    return {
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "hidden_size": d_model,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
    }


_MLA = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}
_DELTA = {"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128}
_KDA = {"head_dim": 128, "short_conv_kernel_size": 4, "num_heads": 32}


def _every(count: int, period: int, other: str, full: str = "full_attention", first: bool = False) -> list[str]:
    return [full if index % period == (0 if first else period - 1) else other for index in range(count)]


CONFIGS: dict[str, dict[str, Any]] = {
    "gpt-oss-120b": {
        "model_type": "gpt_oss", **_uses(36, 64, 8, 2880, 201088, 131072), "head_dim": 64, "intermediate_size": 2880,
        "num_local_experts": 128, "num_experts_per_tok": 4, "sliding_window": 128,
        "quantization_config": {"quant_method": "mxfp4"},
    },
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe", **_uses(48, 32, 4, 2048, 151936, 40960), "head_dim": 128, "intermediate_size": 6144,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "sliding_window": None, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
    },
    "qwen3-8b": {
        "model_type": "qwen3", **_uses(36, 32, 8, 4096, 151936, 40960), "head_dim": 128, "intermediate_size": 12288,
    },
    "qwen3-4b": {
        "model_type": "qwen3", **_uses(36, 32, 8, 2560, 151936, 40960), "head_dim": 128, "intermediate_size": 9728,
        "tie_word_embeddings": True,
    },
    "qwen2.5-coder-14b": {"model_type": "qwen2", **_uses(48, 40, 8, 5120, 152064, 32768), "intermediate_size": 13824},
    "qwen2-57b-a14b": {
        "model_type": "qwen2_moe", **_uses(28, 28, 4, 3584, 151936, 32768), "intermediate_size": 18944,
        "num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 2560,
        "shared_expert_intermediate_size": 20480, "decoder_sparse_step": 1,
    },
    "qwen3-omni-30b-a3b": {
        "model_type": "qwen3_omni_moe",
        "thinker_config": {
            "audio_config": {"d_model": 1280}, "model_type": "qwen3_omni_moe_thinker",
            "text_config": {
                "model_type": "qwen3_omni_moe_text", **_uses(48, 32, 4, 2048, 152064, 65536), "head_dim": 128,
                "intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
            },
        },
    },
    "qwen3-next-80b-a3b": {
        "model_type": "qwen3_next", **_uses(48, 16, 2, 2048, 151936, 262144), **_DELTA, "head_dim": 256,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "full_attention_interval": 4, "num_experts": 512,
        "num_experts_per_tok": 10, "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512,
        "intermediate_size": 5120,
    },
    "qwen3.5-35b-a3b": {
        "model_type": "qwen3_5_moe", "vision_config": {"hidden_size": 1152},
        "text_config": {
            "model_type": "qwen3_5_moe_text", **_uses(40, 16, 2, 2048, 248320, 262144), **_DELTA, "head_dim": 256,
            "linear_num_key_heads": 16, "linear_num_value_heads": 32, "num_experts": 256, "num_experts_per_tok": 8,
            "layer_types": _every(40, 4, "linear_attention"), "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512, "mtp_num_hidden_layers": 1,
        },
    },
    "qwen3.6-27b": {
        "model_type": "qwen3_5", "text_config": {
            "model_type": "qwen3_5_text", **_uses(64, 24, 4, 5120, 248320, 262144), **_DELTA, "head_dim": 256,
            "linear_num_key_heads": 16, "linear_num_value_heads": 48, "intermediate_size": 17408,
            "full_attention_interval": 4,
        },
    },
    "qwen3.8-flash-next": {
        "model_type": "qwen4_exp", "text_config": {
            "model_type": "qwen4_exp_text", **_uses(48, 24, 2, 2560, 248320, 262144), **_DELTA, "head_dim": 256,
            "linear_num_key_heads": 16, "linear_num_value_heads": 48, "num_experts": 512, "num_experts_per_tok": 10,
            "layer_types": _every(48, 4, "linear_attention"), "moe_intermediate_size": 640,
            "shared_expert_intermediate_size": 640, "hc_count": 4, "hc_lowrank": 320, "indexer_n_heads": 4,
            "indexer_head_dim": 128, "indexer_budget": 2048, "ple_layer_ids": [2], "ple_embed_dim": 2560,
            "ngram_size": 3, "heads_per_ngram": 8, "ngram_vocab_size_base": 20_000_000, "ple_conv_kernel_size": 4,
        },
    },
    "deepseek-v3": {
        "model_type": "deepseek_v3", **_uses(61, 128, 128, 7168, 129280, 163840), **_MLA, "q_lora_rank": 1536,
        "intermediate_size": 18432, "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
        "n_shared_experts": 1, "first_k_dense_replace": 3, "moe_layer_freq": 1, "num_nextn_predict_layers": 1,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]},
    },
    "deepseek-v2-lite": {
        "model_type": "deepseek_v2", **_uses(27, 16, 16, 2048, 102400, 163840), **_MLA, "q_lora_rank": None,
        "intermediate_size": 10944, "n_routed_experts": 64, "num_experts_per_tok": 6, "moe_intermediate_size": 1408,
        "n_shared_experts": 2, "first_k_dense_replace": 1, "moe_layer_freq": 1,
    },
    "kimi-k2.5": {
        "model_type": "kimi_k25", "text_config": {
            "model_type": "kimi_k2", **_uses(61, 64, 64, 7168, 163840, 262144), **_MLA, "q_lora_rank": 1536,
            "intermediate_size": 18432, "n_routed_experts": 384, "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048, "n_shared_experts": 1, "first_k_dense_replace": 1,
            "quantization_config": {
                "quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": {"num_bits": 4}}},
            },
        },
    },
    "deepseek-v3.2": {
        "model_type": "deepseek_v32", **_uses(61, 128, 128, 7168, 129280, 163840), **_MLA, "q_lora_rank": 1536,
        "intermediate_size": 18432, "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
        "n_shared_experts": 1, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1, "index_n_heads": 64,
        "index_head_dim": 128, "index_topk": 2048,
    },
    "deepseek-v4-flash": {
        "model_type": "deepseek_v4", **_uses(43, 64, 1, 4096, 129280, 1048576), "head_dim": 512, "q_lora_rank": 1024,
        "qk_rope_head_dim": 64, "o_groups": 8, "o_lora_rank": 1024, "sliding_window": 128, "n_routed_experts": 256,
        "num_experts_per_tok": 6, "moe_intermediate_size": 2048, "n_shared_experts": 1, "num_hash_layers": 3,
        "compress_ratios": [0, 0, 4, *[128, 4] * 20, 0], "hc_mult": 4, "index_n_heads": 64, "index_head_dim": 128,
        "index_topk": 512, "num_nextn_predict_layers": 1,
    },
    "glm-4.7-flash": {
        "model_type": "glm4_moe_lite", **_uses(47, 20, 20, 2048, 154880, 202752), "kv_lora_rank": 512,
        "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256, "q_lora_rank": 768,
        "intermediate_size": 10240, "n_routed_experts": 64, "num_experts_per_tok": 4, "moe_intermediate_size": 1536,
        "n_shared_experts": 1, "first_k_dense_replace": 1,
    },
    "glm-4.6": {
        "model_type": "glm4_moe", **_uses(92, 96, 8, 5120, 151552, 202752), "head_dim": 128,
        "intermediate_size": 12288, "n_routed_experts": 160, "num_experts_per_tok": 8, "moe_intermediate_size": 1536,
        "n_shared_experts": 1, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1,
    },
    "glm-4.5v": {
        "model_type": "glm4v_moe", "text_config": {
            "model_type": "glm4v_moe_text", **_uses(46, 96, 8, 4096, 151552, 65536), "head_dim": 128,
            "intermediate_size": 10944, "n_routed_experts": 128, "num_experts_per_tok": 8,
            "moe_intermediate_size": 1408, "n_shared_experts": 1, "first_k_dense_replace": 1,
        },
    },
    "glm-5.2": {
        "model_type": "glm_moe_dsa", **_uses(78, 64, 64, 6144, 154880, 1048576), "kv_lora_rank": 512,
        "qk_rope_head_dim": 64, "qk_nope_head_dim": 192, "v_head_dim": 256, "q_lora_rank": 2048,
        "intermediate_size": 12288, "n_routed_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
        "n_shared_experts": 1, "first_k_dense_replace": 3, "num_nextn_predict_layers": 1, "index_n_heads": 32,
        "index_head_dim": 128, "index_topk": 2048,
        "indexer_types": ["full" if index < 2 or index % 4 == 2 else "shared" for index in range(78)],
    },
    "glm-5.3-flash": {
        "model_type": "glm5_next", "text_config": {
            "model_type": "glm5_next_text", **_uses(45, 64, 64, 4096, 154880, 1048576), "kv_lora_rank": 512,
            "qk_rope_head_dim": 0, "qk_nope_head_dim": 256, "v_head_dim": 256, "q_lora_rank": 1536,
            "intermediate_size": 12288, "n_routed_experts": 288, "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048, "n_shared_experts": 1, "first_k_dense_replace": 3,
            "num_nextn_predict_layers": 1, "linear_attn_config": _KDA | {"num_heads": 64},
            "layer_types": _every(45, 4, "linear_attention"), "hc_mult": 4, "index_n_heads": 32,
            "index_head_dim": 128, "index_topk": 2048, "index_kpool": 16,
        },
    },
    "minimax-m2": {
        "model_type": "minimax_m2", **_uses(62, 48, 8, 3072, 200064, 196608), "head_dim": 128,
        "intermediate_size": 1536, "num_local_experts": 256, "num_experts_per_tok": 8, "num_mtp_modules": 3,
    },
    "minimax-m3": {
        "model_type": "minimax_m3", **_uses(60, 64, 4, 6144, 200064, 1048576), "head_dim": 128,
        "dense_intermediate_size": 12288, "intermediate_size": 3072, "shared_intermediate_size": 3072,
        "num_local_experts": 128, "num_experts_per_tok": 4, "n_shared_experts": 1, "moe_layer_freq": [0] * 3 + [1] * 57,
        "sparse_attention_config": {"sparse_num_index_heads": 4, "sparse_index_dim": 128, "sparse_topk_blocks": 16},
    },
    "llama-3.1-8b": {"model_type": "llama", **_uses(32, 32, 8, 4096, 128256, 131072), "intermediate_size": 14336},
    "mixtral-8x7b": {
        "model_type": "mixtral", **_uses(32, 32, 8, 4096, 32000, 32768), "intermediate_size": 14336,
        "num_local_experts": 8, "num_experts_per_tok": 2,
    },
    "llama-4-maverick": {
        "model_type": "llama4", "text_config": {
            "model_type": "llama4_text", **_uses(48, 40, 8, 5120, 202048, 1048576), "head_dim": 128,
            "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_local_experts": 128,
            "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "attention_chunk_size": 8192,
        },
    },
    "ministral-3-14b": {
        "model_type": "mistral3", "text_config": {
            "model_type": "ministral3", **_uses(40, 32, 8, 5120, 131072, 262144), "head_dim": 128,
            "intermediate_size": 16384,
        },
    },
    "mistral-small-4-119b": {
        "model_type": "mistral3", "text_config": {
            "model_type": "mistral4", **_uses(36, 32, 32, 4096, 131072, 1048576), "kv_lora_rank": 256,
            "qk_rope_head_dim": 64, "qk_nope_head_dim": 64, "v_head_dim": 128, "q_lora_rank": 1024,
            "intermediate_size": 12288, "n_routed_experts": 128, "num_experts_per_tok": 4,
            "moe_intermediate_size": 2048, "n_shared_experts": 1, "first_k_dense_replace": 0,
        },
    },
    "gemma-3-27b": {
        "model_type": "gemma3", "text_config": {
            "model_type": "gemma3_text", **_uses(62, 32, 16, 5376, 262144, 131072), "head_dim": 128,
            "intermediate_size": 21504, "sliding_window": 1024,
        },
    },
    "gemma-4-26b-a4b": {
        "model_type": "gemma4", "text_config": {
            "model_type": "gemma4_text", **_uses(30, 16, 8, 2816, 262144, 262144), "head_dim": 256,
            "global_head_dim": 512, "num_global_key_value_heads": 2, "intermediate_size": 2112,
            "sliding_window": 1024, "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704,
            "num_kv_shared_layers": 0, "hidden_size_per_layer_input": 0, "tie_word_embeddings": True,
        },
    },
    "dots.llm1": {
        "model_type": "dots1", **_uses(62, 32, 32, 4096, 152064, 32768), "head_dim": 128, "intermediate_size": 10944,
        "n_routed_experts": 128, "num_experts_per_tok": 6, "moe_intermediate_size": 1408, "n_shared_experts": 2,
        "first_k_dense_replace": 1, "moe_layer_freq": 1,
    },
    "ernie-4.5-21b-a3b": {
        "model_type": "ernie4_5_moe", **_uses(28, 20, 4, 2560, 103424, 131072), "intermediate_size": 12288,
        "moe_num_experts": 64, "moe_k": 6, "moe_intermediate_size": 1536, "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1, "moe_layer_interval": 1, "tie_word_embeddings": True,
    },
    "hunyuan-a13b": {
        "model_type": "hunyuan_v1_moe", **_uses(32, 32, 8, 4096, 128167, 262144), "head_dim": 128,
        "intermediate_size": 3072, "moe_intermediate_size": [3072] * 32, "num_experts": 64, "moe_topk": [8] * 32,
        "num_shared_expert": [1] * 32, "tie_word_embeddings": True,
    },
    "hy3": {
        "model_type": "hy_v3", **_uses(80, 64, 8, 4096, 120832, 262144), "head_dim": 128, "intermediate_size": 13312,
        "num_experts": 192, "num_experts_per_tok": 8, "moe_intermediate_size": 1536, "num_shared_experts": 1,
        "first_k_dense_replace": 1, "num_nextn_predict_layers": 1,
    },
    "granite-4.0-h-small": {
        "model_type": "granitemoehybrid", **_uses(40, 32, 8, 4096, 100352, 131072), "intermediate_size": 768,
        "shared_intermediate_size": 1536, "num_local_experts": 72, "num_experts_per_tok": 10, "mamba_d_conv": 4,
        "mamba_d_state": 128, "mamba_n_heads": 128, "mamba_d_head": 64, "mamba_n_groups": 1, "mamba_expand": 2,
        "layer_types": ["attention" if index in (5, 15, 25, 35) else "mamba" for index in range(40)],
        "tie_word_embeddings": True,
    },
    "olmoe-1b-7b": {
        "model_type": "olmoe", **_uses(16, 16, 16, 2048, 50304, 4096), "intermediate_size": 1024, "num_experts": 64,
        "num_experts_per_tok": 8,
    },
    "phi-3.5-moe": {
        "model_type": "phimoe", **_uses(32, 32, 8, 4096, 32064, 131072), "intermediate_size": 6400,
        "num_local_experts": 16, "num_experts_per_tok": 2, "sliding_window": 131072,
    },
    "grok-2": {
        "model_type": "grok", **_uses(64, 64, 8, 8192, 131072, 131072), "head_dim": 128, "intermediate_size": 32768,
        "moe_intermediate_size": 16384, "num_local_experts": 8, "num_experts_per_tok": 2,
    },
    "nemotron-3-super-120b": {
        "model_type": "nemotron_h", **_uses(88, 32, 2, 4096, 131072, 262144), "head_dim": 128,
        "intermediate_size": 2688, "moe_intermediate_size": 2688, "moe_shared_expert_intermediate_size": 5376,
        "n_routed_experts": 512, "num_experts_per_tok": 22, "n_shared_experts": 1, "moe_latent_size": 1024,
        "mamba_num_heads": 128, "mamba_head_dim": 64, "ssm_state_size": 128, "n_groups": 8, "conv_kernel": 4,
        "hybrid_override_pattern": (
            "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME"
        ),
    },
    "lfm2-8b-a1b": {
        "model_type": "lfm2_moe", **_uses(24, 32, 8, 2048, 65536, 128000), "intermediate_size": 7168,
        "moe_intermediate_size": 1792, "num_experts": 32, "num_experts_per_tok": 4, "num_dense_layers": 2,
        "conv_L_cache": 3, "tie_word_embeddings": True,
        "layer_types": ["full_attention" if index in (2, 6, 10, 14, 18, 21) else "conv" for index in range(24)],
    },
    "smallthinker-21b-a3b": {
        "model_type": "smallthinker", **_uses(52, 28, 4, 2560, 151936, 16384), "head_dim": 128,
        "moe_ffn_hidden_size": 768, "moe_num_primary_experts": 64, "moe_num_active_primary_experts": 6,
        "sliding_window_size": 4096, "sliding_window_layout": [0, 1, 1, 1] * 13,
    },
    "step-3.5-flash": {
        "model_type": "step3p5", **_uses(45, 64, 8, 4096, 128896, 262144), "num_attention_groups": 8, "head_dim": 128,
        "intermediate_size": 11264, "moe_intermediate_size": 1280, "moe_num_experts": 288, "moe_top_k": 8,
        "share_expert_dim": 1280, "moe_layers_enum": ",".join(map(str, range(3, 45))), "sliding_window": 512,
        "attention_other_setting": {"num_attention_heads": 96, "num_attention_groups": 8},
        "layer_types": _every(48, 4, "sliding_attention", first=True), "num_nextn_predict_layers": 3,
    },
    "mimo-v2-flash": {
        "model_type": "mimo_v2_flash", **_uses(48, 64, 4, 4096, 152576, 262144), "head_dim": 192, "v_head_dim": 128,
        "intermediate_size": 16384, "moe_intermediate_size": 2048, "n_routed_experts": 256, "num_experts_per_tok": 8,
        "swa_num_key_value_heads": 8, "sliding_window": 128, "moe_layer_freq": [0] + [1] * 47,
        "hybrid_layer_pattern": [0 if index in (0, 5, 11, 17, 23, 29, 35, 41, 47) else 1 for index in range(48)],
        "num_nextn_predict_layers": 3,
    },
    "kimi-linear-48b-a3b": {
        "model_type": "kimi_linear", **_uses(27, 32, 32, 2304, 163840, 1048576), **_MLA, "q_lora_rank": None,
        "intermediate_size": 9216, "num_experts": 256, "num_experts_per_token": 8, "moe_intermediate_size": 1024,
        "num_shared_experts": 1, "first_k_dense_replace": 1,
        "linear_attn_config": _KDA | {"full_attn_layers": [4, 8, 12, 16, 20, 24, 27]},
    },
    "kimi-k3": {
        "model_type": "kimi_k3", "text_config": {
            "model_type": "kimi_linear", **_uses(93, 96, 96, 7168, 163840, 1048576), **_MLA, "q_lora_rank": 1536,
            "intermediate_size": 33792, "num_experts": 896, "num_experts_per_token": 16,
            "moe_intermediate_size": 3072, "num_shared_experts": 2, "first_k_dense_replace": 1,
            "routed_expert_hidden_size": 3584,
            "linear_attn_config": _KDA | {"num_heads": 96, "full_attn_layers": [*range(4, 93, 4), 93]},
        },
    },
    "mellum2-12b-a2.5b": {
        "model_type": "mellum", **_uses(28, 32, 4, 2304, 98304, 131072), "head_dim": 128, "intermediate_size": 7168,
        "moe_intermediate_size": 896, "num_experts": 64, "num_experts_per_tok": 8, "use_sliding_window": True,
        "sliding_window": 1024, "layer_types": _every(28, 4, "sliding_attention"),
    },
    "laguna-s-2.1": {
        "model_type": "laguna", **_uses(48, 48, 8, 3072, 100352, 1048576), "head_dim": 128, "intermediate_size": 12288,
        "num_attention_heads_per_layer": [48, 72, 72, 72] * 12, "sliding_window": 512, "num_experts": 256,
        "layer_types": _every(48, 4, "sliding_attention", first=True), "num_experts_per_tok": 10,
        "moe_intermediate_size": 1024, "shared_expert_intermediate_size": 1024,
        "mlp_layer_types": ["dense"] + ["sparse"] * 47,
    },
    "ling-mini-2.0": {
        "model_type": "bailing_moe", **_uses(20, 16, 4, 2048, 157184, 32768), "head_dim": 128,
        "intermediate_size": 5120, "num_experts": 256, "num_experts_per_tok": 8, "moe_intermediate_size": 512,
        "num_shared_experts": 1, "first_k_dense_replace": 1,
    },
    "ling-3.0-flash": {
        "model_type": "bailing_hybrid", **_uses(42, 32, 32, 2560, 157184, 262144), **_MLA, "q_lora_rank": None,
        "head_dim": 128, "short_conv_kernel_size": 4, "layer_group_size": 6, "intermediate_size": 6144,
        "num_experts": 512, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "num_shared_experts": 1,
        "moe_shared_expert_intermediate_size": 768, "first_k_dense_replace": 2, "num_nextn_predict_layers": 1,
    },
    "trinity-mini": {
        "model_type": "afmoe", **_uses(32, 32, 4, 2048, 200192, 131072), "head_dim": 128, "intermediate_size": 6144,
        "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1024, "num_shared_experts": 1,
        "num_dense_layers": 2, "sliding_window": 2048, "global_attn_every_n_layers": 4,
    },
    "solar-open-100b": {
        "model_type": "solar_open", **_uses(48, 64, 8, 4096, 196608, 131072), "head_dim": 128,
        "n_routed_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 1280, "n_shared_experts": 1,
        "first_k_dense_replace": 0,
    },
}  # fmt: skip
"""By the id of the preset that describes the same model."""
