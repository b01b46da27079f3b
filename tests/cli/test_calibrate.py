"""`moetune calibrate` as a person meets it: real measurements, and nothing left behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from app.errors import ExitCode
from app.models.catalog import find_spec
from app.models.slices import write_slice

Result = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=8, vocabulary=512)
    return path


@pytest.fixture
def env(tools: Path, home: Path) -> dict[str, str]:
    return {**os.environ, "MOETUNE_LLAMA_SERVER": str(tools / "llama-server"), "NO_COLOR": "1", "COLUMNS": "80"}


def moetune(*words: str, env: dict[str, str]) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "app", "calibrate", *words],
        capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


def kept(home: Path) -> list[Path]:
    """What is left of slices."""
    return list((home / "moetune" / "cache" / "calibration").glob("*"))


def test_it_measures_shows_and_forgets(model: Path, env: dict[str, str], home: Path) -> None:
    done = moetune(str(model), "--force", "--seconds", "2", "--json", env=env)
    assert done.returncode == ExitCode.OK, done.stderr
    report = json.loads(done.stdout)
    assert {one["phase"] for one in report["measurements"]} == {"decode", "prefill"}
    assert set(report["identified"]).isdisjoint(report["refused"])
    assert all("time limit" in one["why"] or "n/a" in one["why"] for one in report["skipped"])
    assert "[1/" in done.stderr
    assert "ms per token" in done.stderr
    assert not kept(home)

    shown = moetune("--show", env=env)
    assert shown.returncode == ExitCode.OK
    assert "Calibrated 20" in shown.stdout
    assert "Constants of this machine" in shown.stdout
    assert "no measurement uses it: " in shown.stdout
    assert "prefill_dense_*" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80

    forgotten = moetune("--forget", env=env)
    assert (forgotten.returncode, forgotten.stderr) == (ExitCode.OK, "forgotten: 2 measurements\n")
    assert "is not calibrated for this engine" in moetune("--show", env=env).stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_was_measured_and_leaves_nothing_running(
    number: signal.Signals, model: Path, env: dict[str, str], home: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "calibrate", str(model), "--force", "--seconds", "300"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("[2/"):
            break
    children = psutil.Process(process.pid).children(recursive=True)
    deadline = time.monotonic() + 20
    while not children and time.monotonic() < deadline:
        time.sleep(0.02)
        children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    out, rest = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "measurements kept" in rest
    assert not out
    assert "Traceback" not in rest
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert not kept(home)
    shown = json.loads(moetune("--show", "--json", env=env).stdout)
    assert len(shown["measurements"]) >= 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("no-such-model",), ExitCode.MODEL, "no-such-model"),
        (("gpt-oss-20b:Q9",), ExitCode.USAGE, "Q9"),
        (("--devices", "CUDA9"), ExitCode.USAGE, "has no device 'CUDA9'"),
        (("--rpc", "127.0.0.1:1"), ExitCode.NO_ENGINE, "No RPC server answers at 127.0.0.1:1"),
        (("--quick", "--full"), ExitCode.USAGE, "not allowed with"),
        (("--seconds", "0"), ExitCode.USAGE, "must be 1 or more"),
        (("--engine", "/nowhere/llama-server"), ExitCode.NO_ENGINE, "cannot be used"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_sentence(
    words: tuple[str, ...], code: ExitCode, said: str, env: dict[str, str], home: Path
) -> None:
    done = moetune(*words, "--force", env=env)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not done.stdout
    assert not kept(home)


def test_two_rpc_devices_are_measured_alone_and_together(
    rpc_pair: tuple[str, str], env: dict[str, str], model: Path
) -> None:
    words = ("--rpc", ",".join(rpc_pair), "--devices", "RPC0,RPC1", "--force", "--seconds", "20", "--json")
    done = moetune(str(model), *words, env=env)
    assert done.returncode == ExitCode.OK, done.stderr
    report = json.loads(done.stdout)
    placements = {
        tuple(dict.fromkeys(one["placement"]["attention"] + one["placement"]["experts"]))
        for one in report["measurements"]
        if one["name"].startswith("tiny.gguf")
    }
    near, far = (f"remote:{endpoint}" for endpoint in rpc_pair)
    assert {(near,), (far,), (near, far)} <= placements
    assert all(took is not None and 0 < took < 1e5 for took in report["round_trips_us"].values())
    assert len(report["round_trips_us"]) == 2
