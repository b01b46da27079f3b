"""Shapes of files whose types are the publisher's choice add up to the file, and their experts get what is left."""

from __future__ import annotations

import csv
import tomllib

import pytest

from app.errors import UsageError
from app.models.bits import bits_of, plain_mixture, stated_bytes
from app.models.catalog import find_spec, model_names
from app.models.layout import planned_header
from app.models.names import find_model_name
from app.models.quantization import MIXTURES
from app.models.shape import shape_of
from app.models.sizing import find_shape, shape_with_quantization
from app.resources import PRESETS
from app.solver.model import ModelShape
from app.units import GIB
from tests.models.files import MODELS_CSV

FILES = {
    "deepseek-r1:IQ4_KS_R4": 367.774, "deepseek-r1:IQ1_S_R4": 130.203, "deepseek-v3:UD-Q4_K_XL": 357.623,
    "deepseek-v4-flash:UD-IQ2_XXS": 84.62, "gemma-4-26b-a4b:UD-Q4_K_XL": 13.26, "glm-4.6:UD-Q4_K_XL": 189.69,
    "gpt-oss-120b:F16": 60.87, "minimax-m2:UD-Q6_K_XL": 180.94, "nemotron-3-super-120b:Q4_K_XL": 78.02,
    "qwen3-235b-a22b:mix-IQ3_K": 106.83, "qwen3.6-35b-a3b:UD-Q8_K_XL": 36.4, "qwen3.8-flash-next:UD-Q4_K_XL": 103.7,
    "gemma-4-31b:UD-Q8_K_XL": 32.6, "qwen3-30b-a3b:Q4_K - Medium": 16.49,
}  # fmt: skip
"""GiB of published files (llama-bench), of kinds that no mixture of llama-quantize's describes."""


def expert_bits(shape: ModelShape) -> float:
    return shape.expert_bytes * 8 / sum(layer.expert_weights for layer in shape.layers)


def all_bytes(shape: ModelShape) -> int:
    """Of the file: a tied head is the embedding table."""
    own_head = shape.head_bytes - (shape.embedding_bytes if shape.head_tied else 0)
    return sum(layer.weight_bytes for layer in shape.layers) + shape.embedding_bytes + shape.lookup_bytes + own_head


@pytest.mark.parametrize("name", FILES)
def test_bytes_add_up_to_the_file(name: str) -> None:
    model, _, words = name.partition(":")
    spec, size = find_spec(model), round(FILES[name] * GIB)
    shape = shape_with_quantization(spec, words, size)
    assert shape.file_bytes == size
    assert shape.quantization == words
    if spec.nextn:  # NextN layers are in the file and not among the layers
        assert 0.95 * size < all_bytes(shape) < size
    else:
        assert all_bytes(shape) == size


@pytest.mark.parametrize(("name", "bits"), [
    ("deepseek-r1:IQ4_KS_R4", 4.6), ("deepseek-r1:IQ1_S_R4", 1.48), ("gpt-oss-120b:F16", 4.26),
    ("qwen3-235b-a22b:mix-IQ3_K", 3.74), ("minimax-m2:UD-Q6_K_XL", 6.76),
])  # fmt: skip
def test_experts_get_what_is_left_of_the_file(name: str, bits: float) -> None:
    model, _, words = name.partition(":")
    shape = shape_with_quantization(find_spec(model), words, round(FILES[name] * GIB))
    assert expert_bits(shape) == pytest.approx(bits, abs=0.01)


def test_layers_that_are_alike_stay_alike() -> None:
    shape = shape_with_quantization(find_spec("qwen3-235b-a22b"), "mix-IQ3_K", round(106.83 * GIB))
    assert len(set(shape.layers)) == 1


@pytest.mark.parametrize("words", ["Q4_K_M", "q4_k_m", "Q4_K - Medium", "Q4_K", "Q4_K_M (Ollama default; not stated)"])
def test_a_mixture_is_exact_however_it_is_written(words: str) -> None:
    spec = find_spec("qwen3-30b-a3b")
    assert shape_with_quantization(spec, words) == shape_of(planned_header(spec))


def test_a_size_that_is_the_mixtures_own_changes_nothing() -> None:
    spec = find_spec("qwen3-30b-a3b")
    assert shape_with_quantization(spec, "Q4_K_M", round(17.28 * GIB)) == shape_of(planned_header(spec))


def test_a_size_that_is_another_files_is_left_alone() -> None:
    spec = find_spec("qwen3-30b-a3b")
    assert shape_with_quantization(spec, "UD-Q4_K_XL", 700 * GIB).file_bytes < 20 * GIB


def test_experts_that_were_trained_in_four_bits_stay_so() -> None:
    assert expert_bits(shape_with_quantization(find_spec("gpt-oss-120b"), "F16")) == pytest.approx(4.26, abs=0.01)
    v4 = shape_with_quantization(find_spec("deepseek-v4-flash"), "UD-Q8_K_XL (MXFP4 experts)")
    assert expert_bits(v4) == pytest.approx(4.25, abs=0.01)


@pytest.mark.parametrize(("words", "near_gib", "gib"), [
    ("Q4_K_M (18.56 GB)", 17.28, 18.56e9 / GIB), ("Q4_K_M (8.37 GB)", 8.37, 8.37), ("IQ4_XS custom 15.4 GiB", 15, 15.4),
    ("Q4_K_S (121.1G)", 121, 121.1),
])  # fmt: skip
def test_gb_means_what_the_file_can_be(words: str, near_gib: float, gib: float) -> None:
    assert stated_bytes(words, round(near_gib * GIB)) == pytest.approx(gib * GIB, rel=1e-6)


def test_words_without_a_size_state_none() -> None:
    assert stated_bytes("UD-Q4_K_XL", GIB) is None
    assert stated_bytes("4-bit", GIB) is None


def test_a_mean_of_bits_per_weight_is_a_size() -> None:
    shape = find_shape("qwen3.8-flash-next AD-4.27bpw")
    assert shape is not None
    assert shape.file_bytes / GIB == pytest.approx(88.03, rel=2e-3)
    assert shape.lookup_bytes > 20 * GIB


def test_an_unknown_quantization_is_refused_with_a_way_out() -> None:
    with pytest.raises(UsageError, match="no quantization 'ZIP'") as caught:
        shape_with_quantization(find_spec("gpt-oss-20b"), "ZIP")
    assert "size" in caught.value.hint


def test_a_name_with_a_quantization_has_a_shape() -> None:
    shape = find_shape("unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL")
    assert shape is not None
    assert (shape.name, shape.quantization) == ("Qwen3 30B A3B", "UD-Q4_K_XL")
    assert find_shape("no such model") is None


@pytest.mark.parametrize("words", ["UD-Q4_K_XL", "Q4_K_M", "FP8", "BF16", "NVFP4", "IQ3_KT"])
def test_every_model_has_a_shape_in_every_kind_of_file(words: str) -> None:
    for name in model_names():
        shape = shape_with_quantization(find_spec(name), words)
        assert all(layer.weight_bytes > 0 for layer in shape.layers), name
        assert shape.embedding_bytes > 0, name


def test_every_measured_quantization_is_understood() -> None:
    path = MODELS_CSV.with_name("bench_rows.csv")
    if not path.exists():
        pytest.skip("the table of measurements is not beside this checkout")
    with path.open(newline="") as file:
        pairs = {(row["model"], row["quant"], row["model_file_gib"]) for row in csv.DictReader(file)}
    for model, words, gib in sorted(pairs):
        found = find_model_name(model)
        assert found
        size = round(float(gib) * GIB) if gib else None
        shape = shape_with_quantization(find_spec(found[0]), words or found[1] or "Q4_K_M", size)
        assert not size or shape.file_bytes == pytest.approx(size, rel=0.011), (model, words)


def test_the_table_of_bits_is_sound() -> None:
    with (PRESETS / "quantizations" / "published.toml").open("rb") as file:
        rows = tomllib.load(file)["quantization"]
    for row in rows:
        assert row["source"]
        assert 1 <= row["experts"] <= 16
        assert 4 <= row["rest"] <= 16
    assert {plain_mixture(name) for name in MIXTURES} == set(MIXTURES)
    bits = bits_of("UD-Q4_K_XL")
    assert bits is not None
    assert (bits.rest_latent, bits.rest_deep, bits.rest) == (5.4, 6.5, 7.5)
