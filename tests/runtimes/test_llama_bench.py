"""Timing real engines: what they are asked, what they answer, and that nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.errors import EngineFailedError, NoEngineError
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.runtimes.base import Engine
from app.runtimes.bench import BenchRequest, TimeLimitError, lines_of
from app.runtimes.embedded import Embedded
from app.runtimes.llama_bench import BATCHED_TOOL, TOOL, BatchedBench, LlamaBench, bench_of, read_row
from app.runtimes.registry import engine_at
from app.solver.plan import Parameters, Placement

PARAMETERS = Parameters(4096, 1, 512, 2048, "f16", "f16", True, "mmap", 1, 1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "small.gguf"
    write_slice(find_spec("demo"), path, layers=2, vocabulary=512)
    return path


@pytest.fixture
def engine(tools: Path) -> Engine:
    return engine_at(tools / "llama-server")


@pytest.fixture
def request_of(model: Path) -> BenchRequest:
    placement = Placement.on("cpu", ("cpu", "cpu"))
    return BenchRequest(model, placement, PARAMETERS, (32,), (4,), (0,), repetitions=3)


def test_llama_bench_times_each_repetition(engine: Engine, request_of: BenchRequest) -> None:
    rows = list(bench_of(engine).run(replace(request_of, depths=(0, 64)), limit_s=60))
    told = {(row.phase, row.tokens, row.depth): row.samples_ms for row in rows}
    assert set(told) == {("prefill", 32, 0), ("decode", 4, 0), ("prefill", 32, 64), ("decode", 4, 64)}
    assert {len(samples) for samples in told.values()} == {3}
    # A token of a batch is cheaper than one by itself: the rows are told apart and divided by their tokens.
    assert min(told["prefill", 32, 0]) < min(told["decode", 4, 0])


def test_the_batched_tool_stands_in_for_it(engine: Engine, request_of: BenchRequest) -> None:
    without = replace(engine, tools={BATCHED_TOOL: engine.tools[BATCHED_TOOL]})
    bench = bench_of(without)
    assert isinstance(bench, BatchedBench)
    rows = list(bench.run(replace(request_of, repetitions=2, depths=(0, 64)), limit_s=60))
    told = {(row.phase, row.tokens, row.depth): row.samples_ms for row in rows}
    assert set(told) == {("prefill", 32, 0), ("decode", 4, 0), ("decode", 4, 64)}
    assert all(len(samples) == 2 and min(samples) > 0 for samples in told.values())


def test_the_embedded_engine_is_timed_in_a_child(request_of: BenchRequest) -> None:
    found = Embedded().discover()
    if not found:
        pytest.skip("llama-cpp-python is not installed")
    rows = list(bench_of(found[0]).run(replace(request_of, depths=(0, 64)), limit_s=60))
    assert len(rows) == 4
    assert all(len(row.samples_ms) == 3 and min(row.samples_ms) > 0 for row in rows)


def test_an_engine_without_any_tool_cannot_be_timed(engine: Engine) -> None:
    with pytest.raises(NoEngineError, match="neither llama-bench nor llama-batched-bench"):
        bench_of(replace(engine, tools={}))


def test_experts_on_an_rpc_device_are_written_with_the_bench_s_own_separators(
    tools: Path, rpc_pair: tuple[str, str], request_of: BenchRequest
) -> None:
    engine = engine_at(tools / "llama-server", rpc_pair)
    near, far = (device.device_id or "" for device in engine.devices[1:])
    request = replace(request_of, placement=Placement(("cpu", near), ("cpu", far), near))
    split = replace(request, placement=Placement.on(near, (near, far)))
    words = LlamaBench(engine).arguments(split)
    assert words[words.index("-dev") + 1] == "RPC0/RPC1"
    assert words[words.index("-ts") + 1] == "1/0"
    assert words[words.index("-ot") + 1].endswith(f"=RPC0[{rpc_pair[1]}]")
    rows = list(bench_of(engine).run(replace(split, prompts=()), limit_s=60))
    here = list(bench_of(engine).run(replace(request_of, prompts=()), limit_s=60))
    assert min(rows[0].samples_ms) > min(here[0].samples_ms), "two devices over TCP cannot be as fast as none"


def test_a_model_that_cannot_be_loaded_is_named(engine: Engine, request_of: BenchRequest, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(EngineFailedError, match="llama-bench failed"):
        list(bench_of(engine).run(replace(request_of, model_path=broken), limit_s=60))


def bench_processes(model: Path) -> list[int]:
    return [
        process.pid
        for process in psutil.process_iter(["cmdline", "status"])
        if str(model) in (process.info["cmdline"] or []) and process.info["status"] != psutil.STATUS_ZOMBIE
    ]


def test_the_time_limit_ends_the_tool_and_keeps_the_rows_until_then(
    engine: Engine, request_of: BenchRequest, model: Path
) -> None:
    rows = bench_of(engine).run(replace(request_of, prompts=(), generated=(4, 200_000)), limit_s=2.0)
    assert next(rows).tokens == 4
    with pytest.raises(TimeLimitError, match="was ended after 2 s"):
        next(rows)
    assert not bench_processes(model)


def test_leaving_the_rows_early_ends_the_tool(engine: Engine, request_of: BenchRequest, model: Path) -> None:
    rows = bench_of(engine).run(replace(request_of, prompts=(), generated=(4, 200_000)), limit_s=60)
    next(rows)
    assert bench_processes(model)
    rows.close()  # type: ignore[attr-defined]
    assert not bench_processes(model)


def test_ctrl_c_ends_the_tool(engine: Engine, request_of: BenchRequest, model: Path) -> None:
    def interrupt() -> None:
        deadline = time.monotonic() + 20
        while not bench_processes(model) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(bench_of(engine).run(replace(request_of, prompts=(), generated=(200_000,)), limit_s=60))
    assert not bench_processes(model)


@pytest.mark.parametrize("moment", ["just before", "just after"])
def test_a_signal_around_the_start_leaves_no_child(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has a session of its own: whoever loses it between start and watch never ends it."""
    started = []
    real = subprocess.Popen

    def popen(*arguments: object, **options: object) -> object:
        if moment == "just before":
            os.kill(os.getpid(), signal.SIGINT)
        child = real(*arguments, **options)  # type: ignore[call-overload]
        started.append(child)
        if moment != "just before":
            os.kill(os.getpid(), signal.SIGINT)
        return child

    monkeypatch.setattr("app.runtimes.child.subprocess.Popen", popen)
    code = "import time; time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        list(lines_of((sys.executable, "-c", code), limit_s=20))
    assert [child.poll() is not None for child in started] == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_child_that_fails_says_why(tmp_path: Path) -> None:
    code = "import sys; print('{}'); sys.stderr.write('main: error: no luck today\\n'); sys.exit(3)"
    with pytest.raises(EngineFailedError, match="no luck today"):
        list(lines_of((sys.executable, "-c", code), limit_s=20))
    with pytest.raises(EngineFailedError, match="cannot be started"):
        list(lines_of((str(tmp_path / "absent"),), limit_s=20))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "not json",
        "{",
        "{}",
        '{"n_prompt": 8, "n_gen": 4, "samples_ns": [5]}',
        '{"n_prompt": 0, "n_gen": 0, "samples_ns": [5]}',
        '{"n_prompt": 8, "n_gen": 0, "samples_ns": []}',
        '{"n_prompt": 8, "n_gen": 0, "samples_ns": [0]}',
        '{"n_prompt": "many", "n_gen": 0, "samples_ns": [5]}',
    ],
)
def test_what_is_no_row_is_left_out(line: str) -> None:
    assert read_row(line) is None


def test_a_row_is_per_token() -> None:
    row = read_row('{"n_prompt": 0, "n_gen": 4, "n_depth": 256, "samples_ns": [8000000, 4000000]}')
    assert row is not None
    assert (row.phase, row.tokens, row.depth, row.samples_ms) == ("decode", 4, 256, (2.0, 1.0))


def test_llama_bench_is_preferred(engine: Engine) -> None:
    assert bench_of(engine).name == TOOL
