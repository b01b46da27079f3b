"""Shapes: exact bytes by class, and the KV geometry that published models have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from app.errors import ModelError
from app.models.families import FAMILIES
from app.models.gguf import read_header
from app.models.shape import shape_of, unloaded_bytes
from app.solver.model import ModelShape
from tests.models.files import header_of, known_model, write_tiny

F16_BYTES = 2
Tensors = dict[str, tuple[tuple[int, ...], str]]
DENSE_KEYS: dict[str, object] = {
    "block_count": 2,
    "embedding_length": 64,
    "attention.head_count": 4,
    "attention.head_count_kv": 2,
    "context_length": 4096,
}


def bare(layers: int, d_model: int = 64) -> Tensors:
    """The least that has layers: an embedding, a norm each, and a head."""
    norms: Tensors = {f"blk.{layer}.attn_norm.weight": ((d_model,), "F32") for layer in range(layers)}
    return {"token_embd.weight": ((d_model, 100), "F16"), "output.weight": ((d_model, 100), "F16"), **norms}


def kv_per_token(shape: ModelShape, kind: str) -> int:
    """F16 bytes that a token adds in all layers of a kind."""
    layers = [layer for layer in shape.layers if layer.kind == kind]
    return sum(layer.kv_heads * (layer.key_length + layer.value_length) * F16_BYTES for layer in layers)


def test_every_byte_of_a_file_has_its_class(tmp_path: Path) -> None:
    header = read_header(write_tiny(tmp_path / "tiny.gguf"))
    shape = shape_of(header)
    total = sum(layer.weight_bytes for layer in shape.layers) + shape.head_bytes + shape.embedding_bytes
    assert total == sum(tensor.bytes for tensor in header.tensors)
    assert [layer.kind for layer in shape.layers] == ["swa", "full"]
    assert (shape.window, shape.expert_count, shape.expert_used, shape.expert_ff) == (128, 4, 2, 64)
    assert (shape.vocabulary, shape.d_model, shape.heads, shape.quantization) == (600, 64, 2, "MXFP4 MoE")
    assert not shape.head_tied
    assert shape.is_moe


def test_classes_are_read_off_the_names() -> None:
    tensors = bare(2) | {
        "blk.0.attn_q.weight": ((64, 64), "F16"),
        "blk.0.attn_sinks.weight": ((4,), "F32"),
        "blk.0.ffn_up.weight": ((64, 96), "F16"),
        "blk.0.post_ffw_norm.weight": ((64,), "F32"),
        "blk.1.ffn_gate_inp.weight": ((64, 8), "F32"),
        "blk.1.exp_probs_b.bias": ((8,), "F32"),
        "blk.1.ffn_gate_up_exps.weight": ((64, 32, 8), "Q8_0"),
        "blk.1.ffn_down_exps.weight": ((32, 64, 8), "Q8_0"),
        "blk.1.ffn_down_exps.bias": ((64, 8), "F32"),
        "blk.1.ffn_up_shexp.weight": ((64, 32), "F16"),
        "blk.1.ffn_gate_inp_shexp.weight": ((64,), "F32"),
        "output_norm.weight": ((64,), "F32"),
    }
    shape = shape_of(header_of("qwen2moe", DENSE_KEYS | {"expert_count": 8, "expert_used_count": 2}, tensors))
    first, second = shape.layers
    assert (first.attention_bytes, first.dense_bytes, first.norm_bytes) == (64 * 64 * 2 + 16, 64 * 96 * 2, 512)
    assert second.router_bytes == 64 * 8 * 4 + 8 * 4
    assert second.expert_bytes == 2 * 64 * 32 * 8 * 34 // 32 + 64 * 8 * 4
    assert second.shared_bytes == 64 * 32 * 2 + 64 * 4
    assert shape.head_bytes == 64 * 100 * 2 + 64 * 4
    assert shape.expert_ff == 32


def test_a_tied_head_costs_the_embedding_again() -> None:
    tensors = bare(2) | {"output_norm.weight": ((64,), "F32")}
    del tensors["output.weight"]
    shape = shape_of(header_of("qwen3", DENSE_KEYS, tensors))
    assert shape.head_tied
    assert shape.head_bytes == shape.embedding_bytes + 64 * 4


def test_nextn_layers_are_left_out_and_their_bytes_are_told() -> None:
    keys = DENSE_KEYS | {"block_count": 3, "nextn_predict_layers": 1}
    header = header_of("glm4moe", keys, bare(3) | {"blk.2.nextn.eh_proj.weight": ((128, 64), "F16")})
    shape = shape_of(header)
    assert len(shape.layers) == 2
    assert unloaded_bytes(header) == 64 * 4 + 128 * 64 * 2
    assert sum(tensor.bytes for tensor in header.tensors) == unloaded_bytes(header) + (
        sum(layer.weight_bytes for layer in shape.layers) + shape.head_bytes + shape.embedding_bytes
    )


def test_an_array_of_kv_heads_is_taken_layer_by_layer() -> None:
    shape = shape_of(header_of("llama", DENSE_KEYS | {"attention.head_count_kv": (4, 0)}, bare(2)))
    assert [(layer.kind, layer.kv_heads) for layer in shape.layers] == [("full", 4), ("none", 0)]


def test_a_window_pattern_in_the_file_beats_the_default() -> None:
    keys = DENSE_KEYS | {"block_count": 4, "attention.sliding_window": 512}
    pattern = "attention.sliding_window_pattern"

    def kinds(extra: dict[str, object]) -> list[str]:
        shape = shape_of(header_of("gemma3", keys | extra, bare(4)))
        return [layer.kind for layer in shape.layers]

    assert kinds({}) == ["swa"] * 4
    assert kinds({pattern: 2}) == ["swa", "full", "swa", "full"]
    assert kinds({pattern: (False, True, True, False)}) == ["full", "swa", "swa", "full"]
    assert kinds({"attention.sliding_window": 0}) == ["full"] * 4


def test_deepseek_v3_keeps_one_latent_row() -> None:
    row = known_model("deepseek-v3")
    layers = int(row["n_layer"])
    keys: dict[str, object] = {
        "block_count": layers,
        "embedding_length": 7168,
        "attention.head_count": 128,
        "attention.head_count_kv": 1,
        "attention.key_length": 576,
        "attention.value_length": 512,
        "attention.key_length_mla": 192,
        "attention.value_length_mla": 128,
    }
    shape = shape_of(header_of("deepseek2", keys, bare(layers)))
    assert kv_per_token(shape, "full") == int(row["kv_f16_bytes_per_token"])


def test_an_old_deepseek_file_keeps_keys_and_values_of_every_head() -> None:
    keys = DENSE_KEYS | {
        "attention.head_count_kv": 16,
        "attention.key_length": 192,
        "attention.value_length": 128,
    }
    shape = shape_of(header_of("deepseek2", keys, bare(2)))
    assert kv_per_token(shape, "full") == 2 * 16 * (192 + 128) * F16_BYTES


@pytest.mark.parametrize(("name", "head"), [("gemma-3-27b", 128), ("gemma-3-270m", 256)])
def test_gemma_3_keeps_a_window_in_five_layers_of_six(name: str, head: int) -> None:
    row = known_model(name)
    layers = int(row["n_layer"])
    keys: dict[str, object] = {
        "block_count": layers,
        "embedding_length": int(row["d_model"]),
        "attention.head_count": int(row["n_head"]),
        "attention.head_count_kv": int(row["n_head_kv"]),
        "attention.key_length": head,
        "attention.value_length": head,
        "attention.sliding_window": int(row["swa_window"]),
    }
    shape = shape_of(header_of("gemma3", keys, bare(layers)))
    assert Counter(layer.kind for layer in shape.layers)["swa"] == int(row["n_swa_layers"])
    assert kv_per_token(shape, "full") == int(row["kv_f16_bytes_per_token"])
    assert kv_per_token(shape, "swa") == int(row["kv_f16_bytes_per_token_swa"])


@pytest.mark.parametrize(
    ("name", "architecture"), [("qwen3-next-80b-a3b", "qwen3next"), ("qwen3.5-35b-a3b", "qwen35moe")]
)
def test_a_hybrid_keeps_states_in_three_layers_of_four(name: str, architecture: str) -> None:
    row = known_model(name)
    layers = int(row["n_layer"])
    keys: dict[str, object] = {
        "block_count": layers,
        "embedding_length": 2048,
        "attention.head_count": 16,
        "attention.head_count_kv": 2,
        "attention.key_length": 256,
        "attention.value_length": 256,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 4096,
        "ssm.state_size": 128,
        "ssm.group_count": 16,
    }
    shape = shape_of(header_of(architecture, keys, bare(layers)))
    assert sum(layer.state_bytes for layer in shape.layers) == int(row["state_f32_bytes_per_seq"])
    assert kv_per_token(shape, "full") == int(row["kv_f16_bytes_per_token"])


def test_the_real_gemma_3_270m_is_tied_and_complete(gemma: Path) -> None:
    header = read_header(gemma)
    shape = shape_of(header)
    assert (shape.architecture, shape.quantization, shape.head_tied) == ("gemma3", "Q4_K_M", True)
    assert (shape.vocabulary, shape.d_model, shape.window) == (262144, 640, 512)
    assert Counter(layer.kind for layer in shape.layers) == {"swa": 15, "full": 3}
    assert kv_per_token(shape, "full") == 3072
    weights = sum(layer.weight_bytes for layer in shape.layers) + shape.head_bytes
    assert weights + header.data_offset == header.file_bytes  # the file holds the tied table once, as `head_bytes` does


def test_an_unknown_architecture_is_named_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match="the architecture clef") as caught:
        shape_of(header_of("clef", DENSE_KEYS, bare(2)))
    assert all(name in caught.value.hint for name in FAMILIES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"block_count": None}, "llama.block_count is missing"),
        ({"block_count": 4_000_000_000}, "llama.block_count is 4000000000"),
        ({"block_count": 3}, "no tensors of layer 2"),
        ({"nextn_predict_layers": 2}, "2 NextN layers"),
        ({"embedding_length": "wide"}, "llama.embedding_length is 'wide', not a count"),
        ({"attention.head_count": (4,)}, "has 1 entries for 2 layers"),
        ({"attention.head_count_kv": (4, -1)}, "is -1, not a count"),
        ({"expert_count": 8, "expert_used_count": 9}, "is 9 of 8 experts"),
        ({"context_length": 0.5}, "is 0.5, not a count"),
    ],
)
def test_keys_that_make_no_sense_are_named(change: dict[str, object], said: str) -> None:
    keys = {name: value for name, value in (DENSE_KEYS | change).items() if value is not None}
    with pytest.raises(ModelError, match=said):
        shape_of(header_of("llama", keys, bare(2)))


def test_a_file_without_an_embedding_is_said_to_be_part_of_a_model() -> None:
    tensors = bare(2)
    del tensors["token_embd.weight"]
    with pytest.raises(ModelError, match=r"no token_embd\.weight"):
        shape_of(header_of("llama", DENSE_KEYS, tensors))
    with pytest.raises(ModelError, match="no tensors of layer 0"):
        shape_of(header_of("llama", DENSE_KEYS, {}))
