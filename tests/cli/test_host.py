"""`moetune host` and `moetune rpc-serve` as processes: served, found by name, crashed, stopped, nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from app.cli import main
from app.errors import ExitCode
from app.jobs.hosts import trouble_of
from tests.ports import free_port

Serve = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def serve(tools: Path, home: Path) -> Iterator[Serve]:
    """Start `moetune rpc-serve ...`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "rpc-serve", "--engine", str(tools / "llama-server"), *words],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def server_of(port: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if "-p" in words and str(port) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def test_what_is_served_is_added_listed_planned_with_and_removed(
    serve: Serve, tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOETUNE_LLAMA_SERVER", str(tools / "llama-server"))
    port = free_port()
    endpoint = f"127.0.0.1:{port}"
    process = serve("--listen", endpoint)
    until(lambda: trouble_of(endpoint) == "")
    assert main(["host", "add", endpoint, "--name", "attic"]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert f"attic ({endpoint})" in out
    assert "ms there and back" in out
    assert "--rpc attic" in err
    assert main(["host", "list", "--json"]) == ExitCode.OK
    [report] = json.loads(capsys.readouterr().out)
    assert report["host"]["name"] == "attic"
    assert report["round_trip_us"] > 0
    assert report["facts"]["memory_bytes"][0][1] > 1 << 30
    assert main(["runtime", "list", "--rpc", "attic", "--json"]) == ExitCode.OK
    survey = json.loads(capsys.readouterr().out)
    assert f"remote:{endpoint}" in {one["device_id"] for one in survey["engines"][0]["devices"]}
    assert main(["host", "remove", "attic"]) == ExitCode.OK
    assert main(["runtime", "list", "--rpc", "attic"]) == ExitCode.USAGE
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.TERMINATED
    assert "neither authentication nor encryption" in err
    assert not server_of(port)


def test_a_server_that_crashes_is_started_again_and_its_end_explained(serve: Serve) -> None:
    port = free_port()
    process = serve("--listen", f"127.0.0.1:{port}")
    until(lambda: trouble_of(f"127.0.0.1:{port}") == "")
    [server] = server_of(port)
    server.send_signal(signal.SIGSEGV)
    server.wait(timeout=10)
    until(lambda: trouble_of(f"127.0.0.1:{port}") == "")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "It is started again." in err
    assert not server_of(port)


def test_the_server_does_not_outlive_the_one_who_started_it(serve: Serve) -> None:
    port = free_port()
    process = serve("--listen", f"127.0.0.1:{port}")
    until(lambda: trouble_of(f"127.0.0.1:{port}") == "")
    process.kill()
    process.wait()
    until(lambda: not server_of(port))


@pytest.mark.parametrize("listen", ["0.0.0.0", "0.0.0.0:50052", ":50052"])
def test_every_address_is_refused_without_the_word_for_it(
    listen: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rpc-serve", "--listen", listen]) == ExitCode.USAGE
    assert "--every-address" in capsys.readouterr().err


@pytest.mark.parametrize("listen", ["attic", "::1", "127.0.0.1:0", "127.0.0.1:http"])
def test_what_is_no_address_is_refused(listen: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rpc-serve", "--listen", listen]) == ExitCode.USAGE
    assert "address" in capsys.readouterr().err


def test_a_port_that_is_taken_and_a_device_that_is_not_there_are_said(
    rpc_pair: tuple[str, str], tools: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ["--engine", str(tools / "llama-server")]
    assert main(["rpc-serve", *engine, "--listen", rpc_pair[0]]) == ExitCode.PORT_IN_USE
    assert "--listen 127.0.0.1:" in capsys.readouterr().err
    assert main(["rpc-serve", *engine, "--device", "CUDA7"]) == ExitCode.USAGE
    assert "CUDA7" in capsys.readouterr().err
