"""What the presets describe adds up to the files that are published."""

from __future__ import annotations

import math

import pytest

from app.models.architectures import TensorPlan, tensors_of
from app.models.catalog import find_spec, model_names
from app.models.layout import planned_header
from app.models.shape import shape_of
from app.units import GIB
from tests.models.files import known_model

BILLION = 10**9
PUBLISHED = ("gpt-oss-20b", "gpt-oss-120b", "qwen3-30b-a3b")


def parameters(tensors: list[TensorPlan]) -> int:
    return sum(math.prod(tensor.shape) for tensor in tensors)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_the_published_model(name: str) -> None:
    row = known_model(name)
    tensors = tensors_of(find_spec(name))
    # The table counts the experts' matrices; gpt-oss has biases besides.
    experts = [tensor for tensor in tensors if tensor.name.endswith("_exps.weight")]
    assert parameters(experts) / BILLION == pytest.approx(float(row["calc_routed_b"]), abs=6e-5)
    assert parameters(list(tensors)) / BILLION == pytest.approx(float(row["calc_total_b"]), rel=2e-5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_dimensions_are_those_of_the_published_model(name: str) -> None:
    row = known_model(name)
    spec = find_spec(name)
    assert (spec.layers, spec.d_model, spec.vocabulary, spec.context_length) == tuple(
        int(row[key]) for key in ("n_layer", "d_model", "vocab", "max_ctx")
    )
    assert (spec.heads, spec.kv_heads, spec.key_length, spec.value_length) == tuple(
        int(row[key]) for key in ("n_head", "n_head_kv", "head_dim_k", "head_dim_v")
    )
    assert (spec.experts, spec.experts_used, spec.expert_ff) == tuple(
        int(row[key]) for key in ("n_expert", "n_expert_used", "d_ff_expert")
    )
    assert spec.window == int(row["swa_window"] or 0)


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
