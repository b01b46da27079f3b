"""`moetune slice`: of a described model, and of a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from app.cli import main
from app.errors import ExitCode
from app.models.gguf import read_header
from app.models.shape import shape_of
from tests.models.files import write_tiny


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_layers_are_cut_out_of_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_tiny(here / "tiny.gguf")
    assert main(["slice", "./tiny.gguf", "--layers", "1", "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["path"], report["layers"], report["full_layers"]) == ("tiny-slice.gguf", 1, 2)
    part = shape_of(read_header(here / "tiny-slice.gguf"))
    assert part.layers == shape_of(read_header(source)).layers[:1]


def test_a_slice_is_not_overwritten_unasked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny(here / "tiny.gguf")
    words = ["slice", "tiny.gguf", "--layers", "1"]
    assert main(words) == ExitCode.OK
    assert main(words) == ExitCode.USAGE
    assert "tiny-slice.gguf exists already" in capsys.readouterr().err
    assert main([*words, "--force"]) == ExitCode.OK


@pytest.mark.parametrize(
    "words", [(), ("--layers", "1", "--experts", "2"), ("--layers", "1", "--vocabulary", "600"), ("--layers", "9")]
)
def test_what_a_file_cannot_be_asked_for_is_said(
    here: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    write_tiny(here / "tiny.gguf")
    assert main(["slice", "tiny.gguf", *words]) == ExitCode.USAGE
    assert "layers" in capsys.readouterr().err
    assert not (here / "tiny-slice.gguf").exists()


def test_a_file_that_is_not_there_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slice", "none.gguf", "--layers", "1"]) == ExitCode.MODEL
    assert "There is no file none.gguf" in capsys.readouterr().err


def test_a_described_model_is_found_by_what_people_call_it(here: Path) -> None:
    words = ["slice", "unsloth/Qwen3-0.6B-GGUF:Q8_0", "--layers", "1", "--vocabulary", "512", "-o", "small.gguf"]
    assert main(words) == ExitCode.OK
    assert shape_of(read_header(here / "small.gguf")).name == "Qwen3 0.6B (slice: 1 of 28 layers)"


def test_a_model_that_no_engine_knows_is_not_sliced(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slice", "inkling-small", "--layers", "1", "-o", "none.gguf"]) == ExitCode.USAGE
    assert "does not know the architecture inkling" in capsys.readouterr().err
