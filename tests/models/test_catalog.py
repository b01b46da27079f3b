"""Presets are checked: what is wrong with one is named, with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import ModelError, UsageError
from app.models.blueprints import ARCHITECTURES
from app.models.catalog import find_spec, is_described, load_spec, model_names
from app.resources import PRESETS

DEMO = (PRESETS / "models" / "demo.toml").read_text()
ROPE = 'source = "moetune\'s own; head length and rope_base as gpt-oss"'


def test_the_models_of_the_first_cut_are_there() -> None:
    assert {"demo", "gpt-oss-20b", "gpt-oss-120b", "qwen3-30b-a3b"} <= set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_a_preset_loads_and_names_its_sources(name: str) -> None:
    spec = find_spec(name)
    assert spec.id == name
    assert {"model", "attention"} <= set(spec.sources)
    assert all(spec.sources.values())


def test_the_catalogue_is_large() -> None:
    assert len(model_names()) > 100
    assert {find_spec(name).architecture for name in model_names()} == set(ARCHITECTURES) - {"granitemoe"}


def test_an_unknown_name_tells_what_is_alike() -> None:
    with pytest.raises(UsageError) as caught:
        find_spec("gpt-oss-21b")
    assert "gpt-oss-20b" in caught.value.hint


def test_a_name_may_choose_a_quantization() -> None:
    assert find_spec("qwen3-235b-a22b").quantization == "Q4_K_M"
    assert find_spec("qwen3-235b-a22b:q6_k").quantization == "Q6_K"
    assert find_spec("gpt-oss-20b:mxfp4").quantization == "MXFP4_MOE"
    assert is_described("gpt-oss-20b:anything")
    assert not is_described("gpt-oss-21b:Q4_K_M")
    with pytest.raises(UsageError, match="no quantization 'Q9'") as caught:
        find_spec("gpt-oss-20b:Q9")
    assert "Q4_K_M" in caught.value.hint


def test_a_name_cannot_leave_the_presets() -> None:
    with pytest.raises(UsageError):
        find_spec("../models/demo")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('id = "demo"', 'id = "other"', "its id is other, not the file's name"),
        ("layers = 12", "layres = 12", r"unknown key layres in \[model\]"),
        ("layers = 12\n", "", r"layers is missing in \[model\]"),
        ("layers = 12", 'layers = "12"', r"layers in \[model\] is '12', not int"),
        ("layers = 12", "layers = true", "is True, not int"),
        ("layers = 12", "layers = 0", "must be at least 1"),
        ("heads = 16", "heads = -1", "must be at least 1"),
        ("experts_used = 4", "experts_used = 33", "experts_used at most experts"),
        ('architecture = "gpt-oss"', 'architecture = "gpt-osd"', "unknown architecture gpt-osd"),
        ('"MXFP4_MOE"', '"MXFP5_MOE"', "unknown quantization MXFP5_MOE"),
        ("expert_ff = 640", "expert_ff = -640", "expert_ff must not be negative"),
        ("layers = 12", 'layers = 12\npattern = "*"', "pattern must be one of no letter"),
        ("[window]", "[windows]", "unknown key windows"),
        ("[window]", "[[window]]", "window is not a table"),
        (ROPE, 'source = ""', "source is empty"),
        (ROPE, "", r"source is missing in \[attention\]"),
        ("[model]", "[model", "cannot be used"),
    ],
)
def test_what_is_wrong_with_a_preset_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in DEMO
    path = tmp_path / "demo.toml"
    path.write_text(DEMO.replace(old, new, 1))
    with pytest.raises(ModelError, match=said) as caught:
        load_spec(path)
    assert str(path) in caught.value.hint
