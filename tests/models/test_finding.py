"""Whatever somebody means by a model has a shape, or is refused with what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import ModelError, UsageError
from app.models.catalog import find_spec
from app.models.finding import is_loadable, model_shape
from app.models.shape import planned_shape
from tests.models.files import write_tiny
from tests.models.hf_configs import CONFIGS
from tests.models.test_hf_config import write


def test_a_file_is_read(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    assert model_shape(str(path)).file_bytes == path.stat().st_size
    assert is_loadable(str(path))


def test_a_configuration_is_read_with_and_without_a_quantization(tmp_path: Path) -> None:
    path = write(tmp_path / "model", CONFIGS["qwen3-30b-a3b"])
    for words in (str(path), str(path.parent)):
        assert model_shape(words).quantization == "BF16"
        assert model_shape(f"{words}:Q4_K_M").quantization == "Q4_K_M"
        assert model_shape(f"{words}:UD-Q4_K_XL").quantization == "UD-Q4_K_XL"
        assert not is_loadable(words)


def test_a_repository_in_the_cache_gives_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "models--Qwen--Qwen3-30B-A3B" / "snapshots" / "0123abcd"
    write(folder, CONFIGS["qwen3-30b-a3b"])
    assert model_shape(str(folder)).name == "Qwen3-30B-A3B"


def test_a_name_is_looked_up() -> None:
    assert model_shape("gpt-oss:20b") == planned_shape(find_spec("gpt-oss-20b"))
    assert model_shape("unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL").quantization == "UD-Q4_K_XL"
    assert not is_loadable("gpt-oss:20b")


def test_a_file_that_is_not_there_is_not_taken_for_a_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="There is no file"):
        model_shape(str(tmp_path / "gpt-oss-20b.gguf"))
    with pytest.raises(ModelError, match="There is no file"):
        model_shape("./gpt-oss-20b")


def test_an_unknown_name_tells_what_is_alike() -> None:
    with pytest.raises(ModelError, match="no model of that name is known") as caught:
        model_shape("gpt-oss-21b")
    assert "gpt-oss-20b" in caught.value.hint


def test_an_unknown_quantization_is_named() -> None:
    with pytest.raises(UsageError, match="ZIP9"):
        model_shape("qwen3-30b-a3b:ZIP9")
