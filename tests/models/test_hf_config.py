"""A `config.json` of Hugging Face's is a model: of the same shape as the preset of it, and safe to read."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import ModelError, MoetuneError
from app.models.catalog import find_spec
from app.models.families import FAMILIES
from app.models.hf_config import config_path, config_shape, read_config
from app.models.hf_fields import MODEL_TYPES
from app.models.shape import planned_shape
from tests.models.hf_configs import CONFIGS

UNPUBLISHED = {"granitemoe", "inkling"}
"""Architectures whose configuration is not at hand to test against."""


def write(folder: Path, config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_has_the_shape_of_its_preset(tmp_path: Path, name: str) -> None:
    found = planned_shape(read_config(write(tmp_path / name, CONFIGS[name])).spec)
    wanted = planned_shape(replace(find_spec(name), quantization="BF16"))
    if not wanted.nextn_layers:  # published files leave out layers that the checkpoint has
        found = replace(found, nextn_layers=0, nextn_bytes=0, file_bytes=wanted.file_bytes)
    assert replace(found, name=wanted.name) == wanted


def test_every_architecture_is_covered() -> None:
    assert set(MODEL_TYPES.values()) == set(FAMILIES)
    assert {find_spec(name).architecture for name in CONFIGS} == set(FAMILIES) - UNPUBLISHED


@pytest.mark.parametrize(("name", "words"), [
    ("gpt-oss-120b", "MXFP4"), ("qwen3-30b-a3b", "BF16"), ("deepseek-v3", "FP8"), ("kimi-k2.5", "RAWINT4"),
])  # fmt: skip
def test_the_weights_type_is_read(tmp_path: Path, name: str, words: str) -> None:
    assert read_config(write(tmp_path, CONFIGS[name])).quantization == words


def test_weights_beside_it_say_how_large_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "Qwen3-30B-A3B-FP8", CONFIGS["qwen3-30b-a3b"] | {"quantization_config": {
        "quant_method": "fp8"}})  # fmt: skip
    sizes = {"model-00001-of-00002.safetensors": 20 << 30, "model-00002-of-00002.safetensors": 11 << 30}
    for name, size in sizes.items():
        with (path.parent / name).open("wb") as file:
            file.truncate(size)
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(sizes)}}
    (path.parent / "model.safetensors.index.json").write_text(json.dumps(index))
    shape = config_shape(path)
    assert (shape.file_bytes, shape.quantization, shape.name) == (31 << 30, "FP8", "Qwen3-30B-A3B-FP8")
    (path.parent / "model-00002-of-00002.safetensors").unlink()
    assert read_config(path).weight_bytes is None


def test_a_quantization_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path, CONFIGS["qwen3-30b-a3b"])
    assert config_shape(path, "Q4_K_M").layers == planned_shape(find_spec("qwen3-30b-a3b")).layers


def test_a_folder_or_the_file_is_meant(tmp_path: Path) -> None:
    path = write(tmp_path / "model", {})
    assert config_path(path) == path
    assert config_path(path.parent) == path
    assert config_path(tmp_path) is None
    assert config_path(tmp_path / "other.json") is None


def test_an_unknown_model_type_is_named_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="model_type mamba, which moetune does not know") as caught:
        read_config(write(tmp_path, {"model_type": "mamba"}))
    assert "qwen3_moe" in caught.value.hint


@pytest.mark.parametrize(("change", "said"), [
    ({"num_hidden_layers": None}, "num_hidden_layers is 0"),
    ({"num_hidden_layers": 100_000}, "1 to 512 can be"),
    ({"hidden_size": "2048"}, "hidden_size is '2048', not a count"),
    ({"hidden_size": -1}, "not a count"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    ({"vocab_size": None}, "vocab_size is missing"),
    ({"num_experts_per_tok": None}, "num_experts_per_tok is missing"),
    ({"num_experts_per_tok": 0}, "experts_used must be at least 1"),
])  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_config(write(tmp_path, CONFIGS["qwen3-30b-a3b"] | change))


def test_a_model_of_a_kind_that_is_not_described_is_refused(tmp_path: Path) -> None:
    text = CONFIGS["gemma-4-26b-a4b"]["text_config"] | {"num_kv_shared_layers": 18}
    with pytest.raises(ModelError, match="num_kv_shared_layers is not 0"):
        read_config(write(tmp_path, {"model_type": "gemma4", "text_config": text}))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"config"', "[" * 100_000, "\x00\xff"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(ModelError):
        read_config(path)


def test_a_configuration_with_any_values_is_read_or_refused(tmp_path: Path) -> None:
    chance = random.Random(4)
    odd = [None, -1, 0, 1, 2**63, 1.5, True, "x", "", [], [None], [1, "a"], {}, {"a": 1}, [[1]], ["full_attention"]]

    def mutated(value: object) -> object:
        if isinstance(value, dict):
            return {key: mutated(item) for key, item in value.items() if chance.random() > 0.02}
        return chance.choice(odd) if chance.random() < 0.05 else value

    outcomes = {"read": 0, "refused": 0}
    for _ in range(40):
        for config in CONFIGS.values():
            path = write(tmp_path, mutated(config))
            try:
                config_shape(path)
                outcomes["read"] += 1
            except MoetuneError:
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 200
