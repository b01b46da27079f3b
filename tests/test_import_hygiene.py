"""What each entry point loads, seen in a fresh process: the static import graph cannot see a deferred import."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    try:
        {code}
    except SystemExit:
        pass
print(" ".join(sys.modules))
"""


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(code=code)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


def command(*words: str) -> set[str]:
    return loaded(f"from app.cli import main; main({list(words)!r})")


def test_version_loads_next_to_nothing() -> None:
    ours = {name for name in command("--version") if name.split(".")[0] in ("app", "detectors")}
    assert ours == {"app", "app.cli", "app.errors", "app.version"}


@pytest.mark.parametrize("words", [("check", "--no-engines"), ("check", "--json"), ("plan", "/nonexistent.gguf")])
def test_commands_never_load_the_ui(words: tuple[str, ...]) -> None:
    roots = {name.split(".")[0] for name in command(*words)}
    assert not roots & {"textual", "rich", "plotext", "llama_cpp", "numpy"}


def test_detecting_a_machine_without_gpus_loads_no_gpu_library() -> None:
    roots = {name.split(".")[0] for name in loaded("from detectors.registry import detect; detect()")}
    assert not roots & {"psutil", "pyamdgpuinfo", "asyncio"}
    assert "app" not in roots


def test_check_stays_small() -> None:
    assert len(command("check", "--no-engines")) < 200


@pytest.mark.parametrize("module", ["app.solver.search", "app.readiness"])
def test_the_pure_layers_load_no_probe(module: str) -> None:
    names = loaded(f"import {module}")
    assert not {name for name in names if name.startswith("detectors.") and not name.startswith("detectors.facts")}
    assert not names & {"subprocess", "socket", "sqlite3"}
