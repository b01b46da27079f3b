"""The library: model files are found where programs keep them, each once, and judged with what is described."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.errors import UsageError
from app.jobs.library import library
from app.models.architectures import metadata_of, tensors_of
from app.models.catalog import model_names
from app.models.layout import lay_out
from app.models.places import MAX_DEPTH, Place, find_files, first_models, model_places
from app.solver.model import Workload
from tests.models.files import tiny_spec, write_bytes, write_tiny


@pytest.fixture
def user(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's home folder, empty."""
    folder = tmp_path / "user"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HF_HUB_CACHE", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    return folder


def model_at(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_tiny(path)


def found(*folders: Path) -> list[Path]:
    return [path for _, path in find_files([Place("x", folder) for folder in folders])]


def test_every_program_s_folder_is_looked_into(user: Path, home: Path) -> None:
    wanted = [
        model_at(home / "moetune" / "data" / "models" / "own.gguf"),
        model_at(user / ".cache/llama.cpp/org_repo_file.gguf"),
        model_at(user / ".cache/huggingface/hub/models--org--repo/snapshots/0123abcd/UD-Q4_K_XL/file.gguf"),
        model_at(user / ".lmstudio/models/org/repo/file.gguf"),
        model_at(user / ".cache/lm-studio/models/org/repo/older.gguf"),
    ]
    assert [path for _, path in find_files(model_places())] == wanted


def test_programs_are_told_where_to_keep_models(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CACHE", str(user / "one"))
    monkeypatch.setenv("HF_HUB_CACHE", str(user / "two"))
    wanted = [model_at(user / "one/a.gguf"), model_at(user / "two/b.gguf")]
    assert [path for _, path in find_files(model_places())] == wanted
    monkeypatch.delenv("HF_HUB_CACHE")
    monkeypatch.setenv("HF_HOME", str(user / "three"))
    assert user / "three/hub" in [place.path for place in model_places()]


def test_the_search_ends_with_as_many_as_are_asked_for(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(user)
    files = [model_at(user / "models" / name) for name in ("a.gguf", "b.gguf", "c.gguf")]
    assert first_models(2) == (user / "models/a.gguf", user / "models/b.gguf")
    assert set(files) <= set(first_models())


def test_a_split_model_is_one(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        model_at(tmp_path / f"big-{number:05d}-of-00003.gguf")
    assert found(tmp_path) == [tmp_path / "big-00001-of-00003.gguf"]
    (tmp_path / "big-00001-of-00003.gguf").unlink()
    assert found(tmp_path) == [tmp_path / "big-00002-of-00003.gguf"]


def test_a_file_is_found_once_however_it_is_reached(tmp_path: Path) -> None:
    blob = model_at(tmp_path / "hub/models--a/blobs/deadbeef.gguf")
    for revision in ("one", "two"):
        link = tmp_path / f"hub/models--a/snapshots/{revision}/file.gguf"
        link.parent.mkdir(parents=True)
        link.symlink_to(blob)
    assert found(tmp_path, tmp_path / "hub") == [tmp_path / "hub/models--a/snapshots/one/file.gguf"]


def test_links_that_go_round_or_nowhere_do_no_harm(tmp_path: Path) -> None:
    model_at(tmp_path / "a/model.gguf")
    (tmp_path / "a/round").symlink_to(tmp_path)
    (tmp_path / "a/nowhere.gguf").symlink_to(tmp_path / "none")
    assert found(tmp_path) == [tmp_path / "a/model.gguf"]


def test_vision_towers_hidden_folders_and_depths_are_left_out(tmp_path: Path) -> None:
    for name in ("mmproj-F16.gguf", "model-mmproj.gguf", ".hidden/a.gguf", "node_modules/a.gguf", "notes.txt"):
        model_at(tmp_path / name)
    deep = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 1))
    model_at(deep / "deep.gguf")
    kept = model_at(deep.parent / "kept.gguf")
    assert found(tmp_path) == [kept]


def test_folders_that_are_not_there_or_closed_are_stepped_over(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    model_at(closed / "model.gguf")
    os.chmod(closed, 0)
    try:
        assert found(tmp_path / "none") == []
        found(tmp_path)
    finally:
        os.chmod(closed, 0o755)


def test_files_and_descriptions_are_judged(user: Path) -> None:
    path = model_at(user / "mine/tiny.gguf")
    answer = library([user / "mine"], workload=Workload(context=4096))
    files = [row for row in answer.rows if row.kind == "file"]
    assert [(row.model, row.name, row.place) for row in files] == [(str(path), "tiny.gguf", str(user / "mine"))]
    assert files[0].verdict is not None
    assert files[0].verdict.fits
    assert files[0].devices == ("CPU",) or files[0].devices
    described = [row.model for row in answer.rows if row.kind == "described"]
    assert described == [name for name in model_names() if name != "demo"]
    assert all(row.verdict for row in answer.rows)
    assert answer.workload.context == 4096
    assert answer.machine


def test_a_file_that_cannot_be_planned_says_why(user: Path) -> None:
    write_bytes(user / "broken.gguf", b"GGUF", 100)
    spec = tiny_spec()
    strange = metadata_of(spec) | {"general.architecture": "mamba"}
    layout = lay_out(strange, tensors_of(spec))
    write_bytes(user / "strange.gguf", layout.header, layout.file_bytes)
    tower = lay_out(metadata_of(spec) | {"general.architecture": "clip"}, tensors_of(spec))
    write_bytes(user / "tower.gguf", tower.header, tower.file_bytes)
    rows = {row.name: row for row in library([user]).rows if row.kind == "file"}
    assert set(rows) == {"broken.gguf", "strange.gguf"}
    assert "version 0" in str(rows["broken.gguf"].problem)
    assert "the architecture mamba, which moetune does not know" in str(rows["strange.gguf"].problem)
    assert rows["strange.gguf"].verdict is None


def test_a_folder_that_is_none_is_refused(user: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        library([user / "none"])
