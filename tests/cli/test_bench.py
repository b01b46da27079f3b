"""`moetune bench` as a person meets it: real measurements, kept however it ends, and nothing left running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.cli import main
from app.errors import ExitCode
from app.models.catalog import find_spec
from app.models.slices import write_slice

Result = subprocess.CompletedProcess[str]
SMALL = ("--context", "2K", "--contexts", "0,256,1K", "--batches", "1,2", "--generate", "4", "--floor", "0.001")


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
        [sys.executable, "-m", "app", *words],
        capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL, timeout=180,
    )  # fmt: skip


def children_of(pid: int) -> Iterator[psutil.Process]:
    try:
        yield from psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return


def wrapped_tool(folder: Path, tools: Path, body: str) -> str:
    """A folder with the real server and a `llama-batched-bench` that fails as `body` says."""
    for name in ("llama-server", "llama-fit-params"):
        (folder / name).symlink_to(tools / name)
    path = folder / "llama-batched-bench"
    real = tools / "llama-batched-bench"
    path.write_text(f'#!/bin/bash\ncase " $* " in *" --help "*) exec {real} "$@" ;; esac\n{body.format(real=real)}\n')
    path.chmod(0o755)
    return str(folder / "llama-server")


def test_it_measures_beside_the_prediction_and_goes_on_where_it_stopped(model: Path, env: dict[str, str]) -> None:
    first = moetune("bench", str(model), *SMALL[:2], "--contexts", "0,256", *SMALL[4:], "--json", env=env)
    assert first.returncode == ExitCode.OK, first.stderr
    report = json.loads(first.stdout)
    assert [(one["context"], one["batch"]) for one in report["points"]] == [(0, 1), (256, 1), (0, 2)]
    assert report["points"][0]["prefill_tps"] is None
    assert report["points"][1]["prefill_tps"] > 0
    for one in report["points"]:
        assert one["decode_tps"] > 0
        assert one["decode_low"] < one["predicted_decode_tps"] < one["decode_high"]
    state = report["facts"]["state"]
    assert state["kernel"] == os.uname().release
    assert state["engine"].startswith("llama_server 0")
    assert report["failure"] is None

    second = moetune("bench", str(model), *SMALL, "--json", env=env)
    assert second.stderr.count("known from before") == 3
    more = json.loads(second.stdout)
    assert more["id"] == report["id"]
    assert [one for one in more["points"] if one["context"] != 1024] == report["points"]

    again = moetune("bench", str(model), *SMALL[:2], "--contexts", "0", "--batches", "1", *SMALL[6:], "--again",
                    "--markdown", env=env)  # fmt: skip
    assert "known from before" not in again.stderr
    assert "| context | sequences | prefill t/s | decode t/s | predicted | off |\n| --: |" in again.stdout


def test_a_last_line_that_the_tool_loses_is_measured_again(
    model: Path, env: dict[str, str], tools: Path, tmp_path: Path
) -> None:
    """The real tool exits now and then before its last line is printed."""
    engine = wrapped_tool(tmp_path, tools, '{real} "$@" | head -n 1')
    done = moetune("bench", str(model), *SMALL, "--engine", engine, "--json", env=env)
    assert done.returncode == ExitCode.OK, done.stderr
    found = [(one["context"], one["batch"]) for one in json.loads(done.stdout)["points"]]
    assert found == [(0, 1), (256, 1), (1024, 1), (0, 2)]


def test_the_table_fits_and_says_what_was_left_out(model: Path, env: dict[str, str]) -> None:
    words = ("--context", "1K", "--contexts", "0,256,2K", "--batches", "1", "--generate", "4", "--floor", "1e9")
    done = moetune("bench", str(model), *words, env=env)
    assert done.returncode == ExitCode.OK, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    text = " ".join(done.stdout.split())
    assert "Contexts from 2K on were left out: the plan's context ends at 1K." in text
    assert "Contexts from 256 on were left out: with 0 decode fell to" in text
    assert "[1/1] 0: " in done.stderr
    assert "[2/" not in done.stderr


def test_a_saved_plan_is_measured_as_it_is(model: Path, env: dict[str, str], tmp_path: Path) -> None:
    planned = moetune("plan", str(model), "--context", "1K", "--json", env=env)
    saved = json.loads(planned.stdout)
    saved["plan"]["parameters"] |= {"ubatch": 64, "threads": 1}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(saved))
    done = moetune("bench", str(path), "--contexts", "0,1K,2K", "--batches", "1", "--generate", "4", "--floor", "0.001",
                   "--json", env=env)  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["facts"]["parameters"]["ubatch"] == 64
    assert report["facts"]["parameters"]["threads"] == 1
    assert report["facts"]["placement"] == saved["plan"]["placement"]
    assert [one["prompt_tokens"] for one in report["points"]] == [0, 1020]

    for change, said in (
        ({"schema": "moetune.plan/99"}, "is a plan of the form moetune.plan/99"),
        ({"request": {}}, "is damaged: "),
        ({"plan": {**saved["plan"], "placement": {"attention": ["gpu:x"], "experts": ["gpu:x"], "head": "gpu:x"}}},
         "is for another machine or another model file"),
    ):  # fmt: skip
        path.write_text(json.dumps(saved | change))
        refused = moetune("bench", str(path), env=env)
        assert (refused.returncode, refused.stdout) == (ExitCode.USAGE, "")
        assert said in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_was_measured_and_leaves_nothing_running(
    number: signal.Signals, model: Path, env: dict[str, str]
) -> None:
    words = ("--context", "64K", "--contexts", "0,64K", "--batches", "1", "--generate", "8", "--floor", "0.001")
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "bench", str(model), *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("[1/2]"):
            break
    children = list(children_of(process.pid))
    assert children, said
    process.send_signal(number)
    out, rest = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "interrupted; 1 point is kept: `moetune history " in rest
    assert not out
    assert "Traceback" not in rest
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{real} "$@" | head -n 1; kill -SEGV $$', "llama-batched-bench failed. The engine crashed (segmentation"),
        (
            '{real} "$@" | head -n 1; echo "alloc_buffer: cudaMalloc failed: out of memory" >&2; exit 1',
            "llama-batched-bench failed. A device ran out of memory.",
        ),
        (
            '[ -e "$0.done" ] || {real} "$@" | head -n 1; touch "$0.done"',
            "llama-batched-bench ended 6 times without the points",
        ),
    ],
)
def test_a_tool_that_fails_in_the_middle_is_said_and_what_was_measured_kept(
    body: str, said: str, model: Path, env: dict[str, str], tools: Path, tmp_path: Path
) -> None:
    engine = wrapped_tool(tmp_path, tools, body)
    done = moetune("bench", str(model), *SMALL, "--engine", engine, "--json", env=env)
    assert done.returncode == ExitCode.ENGINE_FAILED
    report = json.loads(done.stdout)
    assert [(one["context"], one["batch"]) for one in report["points"]] == [(0, 1)]
    assert said in report["failure"]["message"]
    errors = [line for line in done.stderr.splitlines() if line.startswith("moetune: ")]
    assert len(errors) == 1
    assert said in errors[0]
    assert "1 point is kept" in done.stderr
    assert "Traceback" not in done.stderr


def test_sequences_that_do_not_fit_into_memory_leave_what_was_measured_before_them(
    model: Path, env: dict[str, str], tools: Path, tmp_path: Path
) -> None:
    """The start for 256 sequences really gets 120 MB of address space: the program takes 100, the cache 64."""
    engine = wrapped_tool(tmp_path, tools, 'case " $* " in *" -npl 256 "*) ulimit -v 120000 ;; esac; exec {real} "$@"')
    words = ("--context", "256", "--parallel", "256", "--contexts", "64", "--batches", "1,256", "--threads", "1")
    done = moetune("bench", str(model), *words, *SMALL[6:], "--engine", engine, "--json", env=env)
    assert done.returncode == ExitCode.ENGINE_FAILED, done.stderr
    report = json.loads(done.stdout)
    assert [(one["context"], one["batch"]) for one in report["points"]] == [(64, 1)]
    assert "The machine ran out of memory: " in report["failure"]["message"]
    assert "1 point is kept" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), ExitCode.USAGE, "nothing to measure"),
        (("/nowhere.gguf",), ExitCode.MODEL, "/nowhere.gguf"),
        (("gpt-oss-20b", "--context", "256", "--runtime", "llama.cpp"), ExitCode.USAGE, "is not downloaded"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_sentence(
    words: tuple[str, ...], code: ExitCode, said: str, env: dict[str, str]
) -> None:
    done = moetune("bench", *words, env=env)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [("--batches", "0"), ("--batches", "300"), ("--contexts", "x"), ("--generate", "0")])
def test_words_that_are_no_sweep_are_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "m.gguf", *words])
    assert caught.value.code == ExitCode.USAGE
    assert words[0] in capsys.readouterr().err
