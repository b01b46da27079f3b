"""What some architectures have besides plain attention, each as a group of numbers and the lengths it makes of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass


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

    def dimensions(self, heads: int) -> dict[str, int]:
        """Lengths of its tensors by name."""
        queries = heads * (self.nope + self.rope)
        return {
            "q_lora": self.q_lora,
            "lora_queries": queries if self.q_lora else 0,
            "direct_queries": 0 if self.q_lora else queries,
            "kv_lora": self.kv_lora,
            "kv_row": self.kv_lora + self.rope,
            "nope": self.nope,
            "mla_value": self.value,
            "mla_mixed": heads * self.value,
        }


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

    def dimensions(self) -> dict[str, int]:
        """Lengths of its tensors by name."""
        both = self.groups * self.state
        return {
            "conv_kernel": self.conv_kernel,
            "inner": self.inner,
            "state": self.state,
            "groups": self.groups,
            "inner_group": self.inner // max(self.groups, 1),
            "conv_channels": self.inner + 2 * both,
            "mamba_in": 2 * self.inner + 2 * both + self.heads,
            "time_heads": self.heads,
            "time_heads_twice": 2 * self.heads,
        }


@dataclass(frozen=True, slots=True)
class KdaSpec:
    """Kimi delta attention: a state of `head_length` squared for each of the model's heads."""

    conv_kernel: int
    head_length: int

    def dimensions(self, heads: int) -> dict[str, int]:
        """Lengths of its tensors by name."""
        return {
            "conv_kernel": self.conv_kernel,
            "kda_length": self.head_length,
            "kda_inner": heads * self.head_length,
        }


@dataclass(frozen=True, slots=True)
class IndexerSpec:
    """The small attention that chooses which tokens the large one looks at."""

    index_heads: int
    index_length: int
    """Of one key, which every token leaves in a cache of its own."""
    top_k: int
    pool: int = 0
    """Tokens that are compressed into one key; 0: each has its own."""

    def dimensions(self) -> dict[str, int]:
        """Lengths of its tensors by name."""
        return {
            "index_heads": self.index_heads,
            "index_length": self.index_length,
            "index_length_twice": 2 * self.index_length,
            "index_queries": self.index_heads * self.index_length,
            "index_pool": self.pool,
        }


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """Hyper-connections: several residual streams, mixed before and after each part of a layer."""

    streams: int
    rank: int = 0
    """Inner width of the mixing where it is of low rank."""

    def dimensions(self, d_model: int) -> dict[str, int]:
        """Lengths of its tensors by name."""
        return {
            "streams": self.streams,
            "streams_wide": self.streams * d_model,
            "stream_mix": (2 + self.streams) * self.streams,
            "stream_rank": self.rank,
        }


@dataclass(frozen=True, slots=True)
class CompressionSpec:
    """DeepSeek V4's attention: one key that is the value too, kept for a window and, compressed, for the rest."""

    query_lora: int
    output_groups: int
    output_lora: int

    def dimensions(self, heads: int, key_length: int) -> dict[str, int]:
        """Lengths of its tensors by name."""
        return {
            "query_lora": self.query_lora,
            "group_mixed": heads * key_length // max(self.output_groups, 1),
            "group_lora": self.output_groups * self.output_lora,
            "key_length_twice": 2 * key_length,
            "near": NEAR_RATIO,
            "far": FAR_RATIO,
        }


NEAR_RATIO, FAR_RATIO = 4, 128
"""Tokens in one compressed row; the only two that llama.cpp's loader takes (`src/models/deepseek4.cpp`)."""


@dataclass(frozen=True, slots=True)
class LookupSpec:
    """A table of n-gram embeddings of which a few rows are read for each token (`per_layer_token_embd`)."""

    table_rows: int
    row_length: int
    rows_read: int
    """Per token: n-gram sizes above one, times heads for each."""
    taps: int
    """Of the convolution over what was read."""

    def dimensions(self) -> dict[str, int]:
        """Lengths of its tensors by name."""
        return {"table_rows": self.table_rows, "row_length": self.row_length, "taps": self.taps}

    def keys(self) -> dict[str, object]:
        """Metadata of a table whose heads each have an equal part of it, for n-grams of two and three tokens."""
        part = self.table_rows // self.rows_read
        return {
            "ple.ngram_size": 3,
            "ple.heads_per_ngram": self.rows_read // 2,
            "ple.conv_kernel": self.taps,
            "ple.eos_token_id": 0,
            "ple.layer_multipliers": array("Q", (1, 31, 961)),
            "ple.head_offsets": array("Q", (part * head for head in range(self.rows_read))),
            "ple.head_vocab_sizes": array("Q", (part,) * self.rows_read),
        }
