"""What a Hugging Face configuration says of mechanisms besides plain attention, group by group."""

from __future__ import annotations

from app.models.families import FAMILIES
from app.models.hf_values import Values
from app.models.mechanisms import (
    CompressionSpec,
    IndexerSpec,
    KdaSpec,
    LookupSpec,
    MlaSpec,
    RecurrentSpec,
    StreamSpec,
)

_DELTA_NET = ("qwen3next", "qwen35", "qwen35moe", "qwen4exp")
_MAMBA = ("granitehybrid", "nemotron_h_moe")


def mla_of(values: Values, architecture: str) -> MlaSpec | None:
    """The widths of multi-head latent attention."""
    if not FAMILIES[architecture].mla:
        return None
    return MlaSpec(
        kv_lora=values.number("kv_lora_rank"),
        rope=values.number("qk_rope_head_dim"),
        nope=values.number("qk_nope_head_dim"),
        value=values.number("v_head_dim"),
        q_lora=values.number("q_lora_rank", 0),
    )


def recurrent_of(values: Values, architecture: str, pattern: str) -> RecurrentSpec | None:
    """The sizes of a recurrent state."""
    if architecture in _DELTA_NET:
        heads = values.number("linear_num_value_heads")
        return RecurrentSpec(
            conv_kernel=values.number("linear_conv_kernel_dim"),
            interval=0 if pattern else _interval(values),
            inner=heads * values.number("linear_value_head_dim"),
            state=values.number("linear_key_head_dim"),
            groups=values.number("linear_num_key_heads"),
            heads=heads,
        )
    if architecture in _MAMBA:
        heads = values.first(("mamba_n_heads", "mamba_num_heads"))
        return RecurrentSpec(
            conv_kernel=values.first(("mamba_d_conv", "conv_kernel")),
            inner=heads * values.first(("mamba_d_head", "mamba_head_dim")),
            state=values.first(("mamba_d_state", "ssm_state_size")),
            groups=values.first(("mamba_n_groups", "n_groups")),
            heads=heads,
        )
    if architecture == "lfm2moe":
        return RecurrentSpec(values.number("conv_L_cache"))
    if architecture == "inkling":
        return RecurrentSpec(values.first(("short_conv_kernel_size", "conv_kernel_size"), 4))
    return None


def _interval(values: Values) -> int:
    words = values.texts("layer_types", ())
    stated = values.number("full_attention_interval", 0)
    return stated or (words.index("full_attention") + 1 if "full_attention" in words else 4)


def kda_of(values: Values, architecture: str) -> KdaSpec | None:
    """The sizes of Kimi delta attention."""
    if architecture == "bailingmoe3":
        return KdaSpec(values.number("short_conv_kernel_size"), values.number("head_dim"))
    inside = values.inside("linear_attn_config")
    if architecture not in ("glm5-next", "kimi-k3", "kimi-linear"):
        return None
    return KdaSpec(inside.number("short_conv_kernel_size"), inside.number("head_dim"))


def indexer_of(values: Values, architecture: str) -> IndexerSpec | None:
    """The sizes of the attention that chooses tokens."""
    if not FAMILIES[architecture].indexer:
        return None
    if architecture == "minimax-m3":
        inside = values.inside("sparse_attention_config")
        return IndexerSpec(
            inside.number("sparse_num_index_heads"),
            inside.number("sparse_index_dim"),
            inside.number("sparse_topk_blocks"),
        )
    return IndexerSpec(
        index_heads=values.first(("index_n_heads", "indexer_n_heads")),
        index_length=values.first(("index_head_dim", "indexer_head_dim")),
        top_k=values.first(("index_topk", "indexer_budget")),
        pool=values.number("index_kpool", 0),
    )


def streams_of(values: Values, architecture: str) -> StreamSpec | None:
    """How many residual streams there are."""
    if architecture not in ("deepseek4", "glm5-next", "qwen4exp"):
        return None
    return StreamSpec(values.first(("hc_mult", "hc_count")), values.number("hc_lowrank", 0))


def compression_of(values: Values, architecture: str) -> CompressionSpec | None:
    """DeepSeek V4's compressed attention."""
    if architecture != "deepseek4":
        return None
    return CompressionSpec(values.number("q_lora_rank"), values.number("o_groups"), values.number("o_lora_rank"))


def lookup_of(values: Values, architecture: str) -> LookupSpec | None:
    """Qwen 4's table of n-grams."""
    if architecture != "qwen4exp" or not values.numbers("ple_layer_ids", ()):
        return None
    heads = (values.number("ngram_size") - 1) * values.number("heads_per_ngram")
    return LookupSpec(
        table_rows=heads * values.number("ngram_vocab_size_base"),
        row_length=values.number("ple_embed_dim") // max(heads, 1),
        rows_read=heads,
        taps=values.number("ple_conv_kernel_size"),
    )
