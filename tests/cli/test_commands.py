"""The command line as a person meets it: real processes, their output, their exit codes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import ExitCode
from app.version import __version__

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment in which nothing of the developer's own is found."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    return {**kept, "MOETUNE_HOME": str(tmp_path / "home")}


def moetune(*words: str, env: dict[str, str]) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        capture_output=True,
        text=True,
        env=env,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


def test_version(home: dict[str, str]) -> None:
    done = moetune("--version", env=home)
    assert (done.returncode, done.stdout) == (0, f"moetune {__version__}\n")


@pytest.mark.parametrize(
    "command", [(), ("check",), ("plan",), ("run",), ("capture",), ("slice",), ("runtime",), ("demo",)]
)
def test_help_teaches(command: tuple[str, ...], home: dict[str, str]) -> None:
    done = moetune(*command, "--help", env=home)
    assert done.returncode == ExitCode.OK
    assert "usage: moetune" in done.stdout
    assert len(done.stdout.splitlines()) > 5


def test_check_as_json_is_one_document(home: dict[str, str]) -> None:
    done = moetune("check", "--json", "--no-engines", env=home)
    report = json.loads(done.stdout)
    assert report["machine"]["cpu"]["logical_cpus"] >= 1
    assert report["machine"]["pools"][0]["total_bytes"] > 0
    assert report["version"] == 1
    assert done.returncode in (ExitCode.OK, ExitCode.COSTS, ExitCode.BLOCKS)


def test_measuring_replaces_the_estimate(home: dict[str, str]) -> None:
    before = json.loads(moetune("check", "--json", "--no-engines", env=home).stdout)
    after = json.loads(moetune("check", "--json", "--no-engines", "--measure", env=home).stdout)
    again = json.loads(moetune("check", "--json", "--no-engines", env=home).stdout)
    cpus = [next(d for d in one["machine"]["devices"] if d["id"] == "cpu") for one in (before, after, again)]
    assert cpus[0]["bandwidth_basis"] != "measured"
    assert cpus[1]["bandwidth_basis"] == cpus[2]["bandwidth_basis"] == "measured"
    assert cpus[1]["bandwidth_gbps"] == cpus[2]["bandwidth_gbps"] > 0.5


def test_a_closed_pipe_ends_quietly(home: dict[str, str]) -> None:
    line = f"{shlex.quote(sys.executable)} -m app check --no-engines | head -n 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=home, timeout=60)
    assert done.stdout.startswith("Machine")
    assert (done.returncode, done.stderr) == (0, "")


def damaged(tmp_path: Path, name: str) -> str:
    """A path of the kind that `name` says."""
    path = tmp_path / "model.gguf"
    match name:
        case "folder":
            path.mkdir()
        case "empty":
            path.touch()
        case "not a model":
            path.write_text("hello, this is no model at all" * 10)
        case "truncated":
            path.write_bytes(b"GGUF\x03\x00\x00\x00" + (5).to_bytes(8, "little") + (3).to_bytes(8, "little"))
    return str(path)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "not a model", "truncated"])
@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_bad_model_is_one_sentence_and_what_to_do(
    command: str, kind: str, tmp_path: Path, home: dict[str, str]
) -> None:
    path = damaged(tmp_path, kind)
    done = moetune(command, path, env=home)
    assert done.returncode == ExitCode.MODEL
    assert done.stdout == ""
    said, hint = done.stderr.splitlines()
    assert said.startswith("moetune: ")
    assert path in said
    assert hint.startswith("  -> ")


@pytest.mark.parametrize(
    "words",
    [
        ("plan",),
        ("plan", "x.gguf", "--context", "many"),
        ("plan", "x.gguf", "--limit", "CUDA0"),
        ("plan", "x.gguf", "--rpc", "nowhere"),
        ("run", "x.gguf", "--port", "99999"),
        ("check", "--host", "/nonexistent"),
        ("slice", "no-such-model"),
        (),
    ],
)
def test_wrong_words_are_explained(words: tuple[str, ...], home: dict[str, str]) -> None:
    done = moetune(*words, env=home)
    assert done.returncode == ExitCode.USAGE
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


def test_a_slice_is_written_once_and_not_overwritten(tmp_path: Path, home: dict[str, str]) -> None:
    path = tmp_path / "small.gguf"
    words = ("slice", "demo", "-o", str(path), "--layers", "2", "--experts", "4", "--vocabulary", "512")
    first = moetune(*words, env=home)
    assert first.returncode == ExitCode.OK, first.stderr
    size = path.stat().st_size
    second = moetune(*words, env=home)
    assert second.returncode == ExitCode.USAGE
    assert "--force" in second.stderr
    assert path.stat().st_size == size


def test_slice_lists_what_there_is(home: dict[str, str]) -> None:
    listed = json.loads(moetune("slice", "--json", env=home).stdout)
    assert {"demo", "gpt-oss-120b"} <= set(listed)


def test_a_built_engine_can_be_listed_and_removed(tmp_path: Path, home: dict[str, str]) -> None:
    folder = Path(home["MOETUNE_HOME"]) / "data" / "engines" / "llama.cpp-test-cpu"
    folder.mkdir(parents=True)
    (folder / "build.json").write_text('{"backend": "cpu", "version": "test", "flags": {}, "built_at": "2026"}')
    assert "llama.cpp-test-cpu" in moetune("runtime", "remove", env=home).stdout
    unknown = moetune("runtime", "remove", "another", env=home)
    assert unknown.returncode == ExitCode.USAGE
    assert "llama.cpp-test-cpu" in unknown.stderr
    assert moetune("runtime", "remove", "llama.cpp-test-cpu", env=home).returncode == ExitCode.OK
    assert not folder.exists()
    assert list(folder.parent.iterdir()) == []


def test_an_unknown_architecture_is_named(tmp_path: Path, home: dict[str, str]) -> None:
    import numpy as np
    from gguf import GGUFWriter

    path = tmp_path / "odd.gguf"
    writer = GGUFWriter(path, "frobnicate")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    done = moetune("plan", str(path), env=home)
    assert done.returncode == ExitCode.MODEL
    assert "frobnicate" in done.stderr
    assert "gpt-oss" in done.stderr, "it says which are known"


def test_a_model_that_cannot_fit_says_by_how_much(tmp_path: Path, home: dict[str, str]) -> None:
    path = tmp_path / "small.gguf"
    moetune("slice", "demo", "-o", str(path), "--layers", "2", "--experts", "4", "--vocabulary", "512", env=home)
    done = moetune("plan", str(path), "--engine", "embedded", "--limit", "CPU=4MiB", env=home)
    assert done.returncode == ExitCode.NO_FIT
    assert "MiB more of CPU" in done.stderr
    assert done.stderr.splitlines()[1].startswith("  -> ")
