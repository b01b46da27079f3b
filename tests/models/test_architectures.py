"""What the presets describe adds up to the files that are published."""

from __future__ import annotations

import math

import pytest

from app.models.architectures import TensorPlan, tensors_of
from app.models.catalog import find_spec, model_names
from app.models.layout import planned_header
from app.models.shape import shape_of
from app.models.spec import ModelSpec
from app.models.tensor_classes import place_of
from app.units import GIB
from tests.models.files import known_model

BILLION = 10**9
OWN = {"demo"}
ROWS = {
    "mellum2-12b-a2.5b": "mellum2-12b-a2.5b-instruct", "qwen3-omni-30b-a3b": "qwen3-omni-30b-a3b-instruct",
    "qwen3.6-40b": "qwen3.6-40b-mtp",
}  # fmt: skip
"""Presets that the table of models has by a longer name."""
PUBLISHED = [name for name in model_names() if name not in OWN]
INDEX_COUNTED = {"deepseek32", "deepseek4", "glm-dsa"}
"""Architectures whose row counts the indexer's keys among those of full attention."""
TOTALS = {
    "deepseek-v2-lite": 15.7064, "gemma-4-26b-a4b": 25.2324, "glm-4.5-air": 106.8512, "gpt-oss-20b": 20.9146,
    "llama-4-maverick": 400.7114, "minimax-m2": 228.6889, "nemotron-3-super-120b": 120.6676, "olmoe-1b-7b": 6.919,
    "qwen3-235b-a22b": 235.0928, "qwen3-next-80b-a3b": 79.6741, "qwen3.6-27b": 26.8953,
}  # fmt: skip
"""Billions of parameters without norms, as the checkpoints count them."""


def parameters(tensors: list[TensorPlan]) -> float:
    return sum(math.prod(tensor.shape) for tensor in tensors) / BILLION


def trunk(spec: ModelSpec) -> list[TensorPlan]:
    return [tensor for tensor in tensors_of(spec) if (place_of(tensor.name)[0] or 0) < spec.layers]


@pytest.mark.parametrize("name", TOTALS)
def test_parameters_are_those_of_the_checkpoint(name: str) -> None:
    assert parameters(trunk(find_spec(name))) == pytest.approx(TOTALS[name], rel=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_are_those_of_the_table_of_models(name: str) -> None:
    row = known_model(ROWS.get(name, name))
    spec = find_spec(name)
    tensors = trunk(spec)
    # The table counts the experts' matrices, and no norms: 0.04 % of the smallest model.
    experts = [tensor for tensor in tensors if tensor.name.endswith("_exps.weight")]
    assert parameters(experts) == pytest.approx(float(row["calc_routed_b"]), abs=6e-5)
    assert parameters(tensors) == pytest.approx(float(row["calc_total_b"]), rel=1e-4 if spec.d_model > 1000 else 4e-4)
    assert parameters(tensors) >= float(row["calc_total_b"]) - 6e-5
    if spec.nextn and row["calc_mtp_b"]:
        ahead = parameters(list(tensors_of(spec))) - parameters(tensors)
        assert ahead == pytest.approx(float(row["calc_mtp_b"]), abs=6e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_memory_is_that_of_the_table_of_models(name: str) -> None:
    row = known_model(ROWS.get(name, name))
    layers = shape_of(planned_header(find_spec(name))).layers
    rows = {
        kind: sum(
            2 * layer.kv_heads * (layer.key_length + layer.value_length) for layer in layers if layer.kind == kind
        )
        for kind in ("full", "swa")
    }
    if row["gguf_arch"] in INDEX_COUNTED:
        rows["full"] += sum(2 * layer.index_length for layer in layers)
    assert rows["full"] == float(row["kv_f16_bytes_per_token"])
    assert rows["swa"] == float(row["kv_f16_bytes_per_token_swa"] or 0)
    if row["gguf_arch"] != "deepseek4":  # the table leaves its compressors out
        assert sum(layer.state_bytes for layer in layers) == float(row["state_f32_bytes_per_seq"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_dimensions_are_those_of_the_table_of_models(name: str) -> None:
    row = known_model(ROWS.get(name, name))
    spec = find_spec(name)
    assert (spec.layers, spec.d_model, spec.vocabulary, spec.context_length) == tuple(
        int(row[key]) for key in ("n_layer", "d_model", "vocab", "max_ctx")
    )
    assert (spec.heads, spec.kv_heads, spec.key_length, spec.value_length) == tuple(
        int(row[key] or 0) for key in ("n_head", "n_head_kv", "head_dim_k", "head_dim_v")
    )
    assert (spec.experts, spec.experts_used, spec.expert_ff) == tuple(
        int(row[key] or 0) for key in ("n_expert", "n_expert_used", "d_ff_expert")
    )
    assert spec.window == (int(row["swa_window"] or 0) if row["n_swa_layers"] or row["gguf_arch"] == "deepseek4" else 0)


@pytest.mark.parametrize(("name", "gib"), [("gpt-oss-20b", 11.27), ("gpt-oss-120b", 59.02), ("qwen3-30b-a3b", 17.28)])
def test_bytes_are_those_that_llama_bench_reports(name: str, gib: float) -> None:
    assert sum(tensor.bytes for tensor in planned_header(find_spec(name)).tensors) / GIB == pytest.approx(
        gib, abs=0.006
    )


def test_routed_bytes_of_gpt_oss_20b() -> None:
    shape = shape_of(planned_header(find_spec("gpt-oss-20b")))
    weights = 24 * 32 * 3 * 2880 * 2880 * 17 // 32
    biases = 24 * 32 * 3 * 2880 * 4
    assert shape.expert_bytes == weights + biases
    assert [layer.kind for layer in shape.layers] == ["swa", "full"] * 12


@pytest.mark.parametrize("name", model_names())
def test_a_spec_has_a_shape_without_a_file(name: str) -> None:
    spec = find_spec(name)
    shape = shape_of(planned_header(spec))
    assert (len(shape.layers), shape.name, shape.vocabulary) == (spec.layers, spec.name, spec.vocabulary)
