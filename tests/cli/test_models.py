"""`moetune models`: the table fits the terminal, says where a model goes and how fast, and names what is too large."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from app.cli import main
from app.errors import ExitCode
from app.models.catalog import model_names
from tests.cli.conftest import DESK, PLAIN
from tests.cli.models_schema import PATH, text
from tests.models.files import write_bytes, write_tiny

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def models(
    hosts: Callable[[str], str],
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Run `moetune models WORDS --host HOST` at that many columns: exit code, stdout, stderr."""
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str, host: str = DESK, columns: int = 80) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        code = main(["models", *words, "--host", hosts(host)])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.mark.parametrize("columns", [80, 110])
def test_the_table_fits_the_terminal(models: Run, columns: int) -> None:
    code, out, _ = models(columns=columns)
    assert code == ExitCode.OK
    assert max(map(len, out.splitlines())) <= columns
    assert "\x1b" not in out


def row_of(out: str, model: str) -> str:
    return next(row for row in out.splitlines() if row.startswith(f"{model} "))


def test_a_row_says_where_and_how_fast(models: Run) -> None:
    _, out, _ = models()
    answer = json.loads(models("--json")[1])
    row = row_of(out, "gpt-oss-20b")
    (found,) = [one for one in answer["rows"] if one["model"] == "gpt-oss-20b"]
    assert "11.3 GiB MXFP4 MoE" in row
    assert " + ".join(found["devices"]) in row
    assert f"{found['verdict']['decode']['tokens_per_s']:.3g}"[:3] in row


def test_what_is_too_large_is_named_and_listed_when_asked(models: Run) -> None:
    _, out, _ = models(host=PLAIN)
    assert "too large here: " in out
    assert "kimi-k3" in out.partition("too large here: ")[2]
    _, full, _ = models("--all", host=PLAIN)
    assert "too large here" not in full
    assert "lacks" in row_of(full, "kimi-k3")
    shown = [row.split()[0] for row in full.splitlines() if row and row.split()[0] in model_names()]
    assert shown == [name for name in model_names() if name != "demo"]


def test_files_are_listed_under_their_folder(models: Run, tmp_path: Path) -> None:
    folder = tmp_path / "user" / "models"
    (folder / "org").mkdir(parents=True)
    write_tiny(folder / "org" / "mine.gguf")
    write_bytes(folder / "broken.gguf", b"GGUF", 100)
    _, out, _ = models(str(folder))
    lines = out.splitlines()
    assert "~/models" in lines
    below = lines[lines.index("~/models") :]
    assert below[1].startswith("broken ")
    assert "version 0" in " ".join(below[1:4])
    assert any(line.startswith("org/mine ") for line in below)


def test_where_nothing_is_found_it_says_where_to_look(models: Run) -> None:
    assert "`moetune models FOLDER` looks elsewhere" in models()[1]


def test_a_folder_that_is_none_is_refused(models: Run) -> None:
    code, out, err = models("/no/such/folder")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "/no/such/folder is not a folder" in err


def test_the_context_that_is_asked_for_counts(models: Run) -> None:
    assert "32K held" in " ".join(models("--context", "32K")[1].split())
    assert json.loads(models("--json", "-c", "32K")[1])["workload"]["context"] == 32768


def test_the_document_keeps_to_its_schema(models: Run) -> None:
    assert PATH.read_text(encoding="utf-8") == text(), "run: python -m tests.cli.models_schema"
    answer = json.loads(models("--json")[1])
    Draft202012Validator(json.loads(text())).validate(answer)
    assert answer["schema"] == "moetune.models/1"
    assert {row["model"] for row in answer["rows"]} == set(model_names()) - {"demo"}
