"""Shapes of models that are not downloaded: those of the files they would be, and what they cost to compute."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.models.catalog import find_spec, model_names
from app.models.layout import planned_header
from app.models.shape import planned_shape, shape_of, unloaded_bytes
from app.units import GIB


@pytest.mark.parametrize("words", ["", "Q4_K_M", "Q4_K_S", "Q3_K_M", "Q2_K", "IQ4_XS", "MXFP4_MOE", "BF16"])
def test_a_planned_shape_is_that_of_the_file_it_plans(words: str) -> None:
    for name in model_names():
        spec = replace(find_spec(name), quantization=words or find_spec(name).quantization)
        assert planned_shape(spec) == shape_of(planned_header(spec)), name


def test_what_attention_computes_for_each_token_it_looks_at() -> None:
    latent = planned_shape(find_spec("deepseek-v3")).layers[0]
    assert latent.attention_flops == 2 * 128 * (576 + 512)
    uneven = planned_shape(find_spec("step-3.5-flash")).layers
    assert uneven[0].attention_flops == 2 * 64 * (128 + 128)
    assert uneven[1].attention_flops == 2 * 96 * (128 + 128)
    assert planned_shape(find_spec("qwen3-next-80b-a3b")).layers[0].attention_flops == 0


def test_what_prompts_multiply() -> None:
    shape = planned_shape(find_spec("qwen3-30b-a3b"))
    assert shape.layers[0].expert_weights == 3 * 128 * 2048 * 768
    assert (shape.expert_matrices, shape.expert_width, shape.head_weights) == (3, 2048, 151936 * 2048 + 2048)
    routed = sum(layer.expert_weights for layer in shape.layers)
    resident = sum(layer.resident_weights for layer in shape.layers)
    assert (routed + resident + shape.head_weights + 151936 * 2048) / 1e9 == pytest.approx(30.532, abs=0.001)


def test_experts_of_two_matrices_in_a_latent_space() -> None:
    shape = planned_shape(find_spec("nemotron-3-super-120b"))
    assert (shape.expert_matrices, shape.expert_width, shape.expert_ff, shape.d_model) == (2, 1024, 2688, 4096)


def test_next_token_layers_are_counted_apart() -> None:
    shape = planned_shape(find_spec("glm-4.5-air"))
    assert (len(shape.layers), shape.nextn_layers) == (46, 1)
    header = planned_header(find_spec("glm-4.5-air"))
    assert shape.nextn_bytes == unloaded_bytes(header)
    assert planned_shape(find_spec("qwen3-30b-a3b")).nextn_bytes == 0


def test_layers_of_many_kernels() -> None:
    kernels = {
        name: [layer.many_kernels for layer in planned_shape(find_spec(name)).layers]
        for name in ("qwen3-next-80b-a3b", "gemma-4-26b-a4b", "gpt-oss-20b", "deepseek-v4-flash")
    }
    assert kernels["qwen3-next-80b-a3b"] == [True, True, True, False] * 12
    assert all(kernels["gemma-4-26b-a4b"])
    assert all(kernels["deepseek-v4-flash"])
    assert not any(kernels["gpt-oss-20b"])


def test_a_table_that_is_looked_up_is_no_weight_that_is_read() -> None:
    shape = planned_shape(find_spec("qwen3.8-flash-next"))
    assert shape.lookup_bytes > 25 * GIB
    assert shape.head_bytes < GIB


def test_an_indexer_caches_keys_of_its_own() -> None:
    assert planned_shape(find_spec("deepseek-v3.2")).layers[5].index_length == 128
    shared = planned_shape(find_spec("glm-5.2")).layers
    assert [layer.index_length for layer in shared[:7]] == [128, 128, 128, 0, 0, 0, 128]
    dense, sparse = planned_shape(find_spec("minimax-m3")).layers[2:4]
    assert (dense.index_length, sparse.index_length) == (0, 2 * 128)
    assert planned_shape(find_spec("glm-5.3-flash")).layers[3].index_length == 3 * 128
    flash = planned_shape(find_spec("deepseek-v4-flash")).layers
    assert [(layer.kind, layer.key_length, layer.value_length, layer.index_length) for layer in flash[:4]] == [
        ("swa", 512, 0, 0), ("swa", 512, 0, 0), ("swa", 512, 0, 160), ("swa", 512, 0, 4),
    ]  # fmt: skip
