"""`moetune run` with real engines: it serves, ends cleanly on every signal, and explains what went wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.errors import ExitCode
from app.models.catalog import find_spec
from app.models.slices import write_slice
from tests.ports import free_port

Run = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that loads at once."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=8, vocabulary=1024)
    return path


@pytest.fixture
def run(home: Path, model: Path) -> Iterator[Run]:
    """Start `moetune run MODEL ...`; whatever it leaves behind is ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, path: Path = model) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "run", str(path), *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for engine in engines(model):
        engine.kill()


def engines(model: Path) -> list[psutil.Process]:
    """Engines that have that model open on their command line."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if str(model) in words and "-dev" in words:
            found.append(process)
    return found


def until_ready(process: subprocess.Popen[str]) -> str:
    """Read its narration until the engine is ready; the endpoint's URL."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("engine ready"):
            return line.split()[-1]
    pytest.fail("it ended before the engine was ready")


def test_it_serves_the_openai_api(run: Run, model: Path, tools: Path) -> None:
    url = until_ready(process := run("--engine", str(tools / "llama-server"), "--port", "0"))
    body = json.dumps({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 4}).encode()
    request = urllib.request.Request(f"{url}/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["choices"][0]["message"]["role"] == "assistant"
    assert url.startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == ExitCode.INTERRUPTED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("engine", ["llama-server", "embedded"])
def test_every_signal_stops_the_engine(run: Run, model: Path, tools: Path, engine: str, number: signal.Signals) -> None:
    process = run("--engine", "embedded" if engine == "embedded" else str(tools / engine), "--port", "0")
    until_ready(process)
    assert len(engines(model)) == 1
    process.send_signal(number)
    assert process.wait(15) == 128 + number
    assert engines(model) == []


def test_after_kill_9_the_engine_is_found_and_can_be_stopped(run: Run, model: Path) -> None:
    first = run("--engine", "embedded", "--port", "0")
    until_ready(first)
    first.kill()
    first.wait()
    [left] = engines(model)
    refused = run("--engine", "embedded", "--port", "0")
    _, said = refused.communicate(timeout=30)
    assert refused.returncode == ExitCode.BUSY
    assert f"pid {left.pid}" in said
    assert "--orphan" in said
    until_ready(again := run("--engine", "embedded", "--port", "0", "--orphan", "stop"))
    [engine] = engines(model)
    assert engine.pid != left.pid
    again.terminate()
    again.wait(15)
    assert engines(model) == []


def test_an_engine_left_behind_can_be_adopted(run: Run, model: Path) -> None:
    first = run("--engine", "embedded", "--port", "0")
    url = until_ready(first)
    first.kill()
    first.wait()
    [left] = engines(model)
    heir = run("--orphan", "adopt")
    assert until_ready(heir) == url
    assert [engine.pid for engine in engines(model)] == [left.pid]
    heir.terminate()
    heir.wait(15)
    assert engines(model) == []


def test_a_second_moetune_is_refused(run: Run, model: Path) -> None:
    until_ready(run("--engine", "embedded", "--port", "0"))
    second = run("--engine", "embedded", "--port", "0")
    _, said = second.communicate(timeout=30)
    assert second.returncode == ExitCode.BUSY
    assert said.count("moetune: ") == 1
    assert len(engines(model)) == 1


def test_a_port_in_use_is_named(run: Run, model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = run("--engine", "embedded", "--port", str(port))
        _, said = process.communicate(timeout=30)
    assert process.returncode == ExitCode.PORT_IN_USE
    assert str(port) in said
    assert engines(model) == []


def wrapper(folder: Path, real: Path, body: str) -> Path:
    """An engine that answers questions about itself as the real one does, and serves as `body` says."""
    path = folder / "llama-server"
    questions = "|".join(f'*" {word} "*' for word in ("--version", "--help", "--list-devices"))
    path.write_text(f'#!/bin/sh\ncase " $* " in\n{questions}) exec {real} "$@" ;;\nesac\n{body}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'something is wrong' >&2; exit 3", "code 3"),
        ("kill -SEGV $$", "segmentation fault"),
        ("echo 'error: unknown argument: -zz' >&2; exit 1", "-zz"),
    ],
)
def test_an_engine_that_crashes_at_start_is_explained(
    run: Run, model: Path, tools: Path, tmp_path: Path, body: str, said: str
) -> None:
    engine = wrapper(tmp_path, tools / "llama-server", body)
    process = run("--engine", str(engine), "--port", "0")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.ENGINE_FAILED
    last = [line for line in errors.splitlines() if line.startswith("moetune: ")]
    assert len(last) == 1
    assert said in last[0]
    assert "Traceback" not in errors


def test_an_engine_that_never_gets_ready_is_given_up(run: Run, tools: Path, tmp_path: Path) -> None:
    engine = wrapper(tmp_path, tools / "llama-server", "exec sleep 47.11")
    process = run("--engine", str(engine), "--port", "0", "--ready-timeout", "1")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == ExitCode.ENGINE_FAILED
    assert "not ready within 1 s" in errors
    assert not [p for p in psutil.process_iter(["cmdline"]) if "47.11" in (p.info["cmdline"] or [])]


def test_no_engine_at_all(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llama.cpp and with llama_cpp out of reach."""
    code = (
        "import importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'llama_cpp' else real(name, *a)\n"
        f"import sys; from app.cli import main; sys.exit(main(['run', {str(model)!r}, '--port', '0']))"
    )
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path), "MOETUNE_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=30
    )
    assert done.returncode == ExitCode.NO_ENGINE
    assert "runtime build" in done.stderr


def test_prompt_prints_the_answer_alone_on_stdout(run: Run) -> None:
    process = run("--engine", "embedded", "--port", str(free_port()), "--prompt", "hello", "--tokens", "8")
    text, narration = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OK
    assert text.strip()
    assert "engine" not in text
    assert "measured" in narration
