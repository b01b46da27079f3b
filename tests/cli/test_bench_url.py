"""`moetune bench --url` against a real llama-server: measured, kept, resumed, and clear about what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.errors import ExitCode
from app.models.catalog import find_spec
from app.models.slices import write_slice
from tests.launch.engines import wait_until
from tests.ports import free_port

Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Server:
    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture
def server(tools: Path, tmp_path: Path) -> Iterator[Server]:
    """A real llama-server with two slots of 1024 tokens."""
    write_slice(find_spec("demo"), tmp_path / "tiny.gguf", layers=2, experts=8, vocabulary=512)
    port = free_port()
    words = [
        "-m",
        str(tmp_path / "tiny.gguf"),
        "-c",
        "2048",
        "-np",
        "2",
        "-t",
        "1",
        "-dev",
        "none",
        "--port",
        str(port),
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([str(tools / "llama-server"), *words], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/health"), 30)
        yield Server(f"http://127.0.0.1:{port}", process)
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "COLUMNS": "80"}


def bench(*words: str, env: dict[str, str]) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "app", "bench", *words],
        capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def test_a_server_is_measured_and_what_it_refuses_left_out(server: Server, env: dict[str, str]) -> None:
    words = ("--url", server.url, "--contexts", "0,256,2K", "--batches", "1,2", "--generate", "4", "--quick", "--floor",
             "0.001")  # fmt: skip
    done = bench(*words, "--json", env=env)
    assert done.returncode == ExitCode.OK, done.stderr
    report = json.loads(done.stdout)
    points = {(one["context"], one["batch"]): one for one in report["points"]}
    assert set(points) == {(0, 1), (256, 1), (0, 2)}
    for one in points.values():
        assert one["decode_tps"] > 0
        assert {"ttft_ms_p50", "ttft_ms_p95", "tpot_ms_p50", "tpot_ms_p95", "throughput_tps"} == set(one["latency"])
    assert points[256, 1]["prefill_tps"] > 0
    assert points[256, 1]["prompt_tokens"] == pytest.approx(256, rel=0.1)
    assert report["engine"].startswith("llama.cpp ")
    assert report["tool"] == f"{server.url}/v1"
    [note] = report["notes"]
    assert note.startswith("Contexts from 2K on were left out: ")
    assert "exceeds the available context size" in note

    again = bench(*words, env=env)
    assert again.stderr.count("known from before") == 3
    assert "TTFT ms p50" in again.stdout
    assert "predicted" not in again.stdout
    assert max(map(len, again.stdout.splitlines())) <= 100


def test_a_server_that_dies_in_the_middle_is_said_and_what_was_measured_kept(
    server: Server, env: dict[str, str]
) -> None:
    words = ("--url", server.url, "--contexts", "0,900", "--batches", "1", "--generate", "64", "--floor", "0.001")
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "bench", *words, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("[1/2] 0: ")
    server.process.kill()
    out, err = process.communicate(timeout=30)
    assert process.returncode == ExitCode.ENGINE_FAILED
    report = json.loads(out)
    assert [one["context"] for one in report["points"]] == [0]
    assert "does not answer" in report["failure"]["message"]
    assert err.count("moetune: ") == 1
    assert "1 point is kept" in err
    assert "Traceback" not in err


def test_ctrl_c_keeps_what_was_measured(server: Server, env: dict[str, str]) -> None:
    words = ("--url", server.url, "--contexts", "0,512", "--batches", "1", "--generate", "200", "--floor", "0.001")
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "bench", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    assert process.stderr.readline().startswith("[1/2] 0: ")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (ExitCode.INTERRUPTED, "")
    assert "interrupted; 1 point is kept" in err
    assert "Traceback" not in err

    def idle() -> bool:
        with urllib.request.urlopen(f"{server.url}/slots", timeout=5) as answer:
            return not any(slot["is_processing"] for slot in json.load(answer))

    wait_until(idle, 20)


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("ftp://host", ExitCode.USAGE, "is no URL of an endpoint"),
        ("http://127.0.0.1:1", ExitCode.ENGINE_FAILED, "http://127.0.0.1:1/v1 does not answer: Connection refused."),
        ("http://nowhere.invalid:80", ExitCode.ENGINE_FAILED, "http://nowhere.invalid:80/v1 does not answer: "),
    ],
)
def test_an_endpoint_that_is_not_there_is_said(url: str, code: ExitCode, said: str, env: dict[str, str]) -> None:
    done = bench("--url", url, env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
