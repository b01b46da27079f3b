"""The sweep tool: what it is asked, what it answers, its `nan`, and that nothing of it is left."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.errors import EngineFailedError, NoEngineError
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.runtimes.base import Engine
from app.runtimes.batched_sweep import BatchedSweep, SweepPass, SweepRow, read_sweep_row
from app.runtimes.registry import engine_at
from app.solver.plan import Plan
from tests.runtimes.conftest import plan_of

REAL = (
    '{"n_kv_max": 2048, "n_batch": 2048, "n_ubatch": 512, "flash_attn": -1, "is_pp_shared": 0, "n_gpu_layers": 0, '
    '"n_threads": 2, "n_threads_batch": 2, "pp": 0, "tg": 8, "pl": 2, "n_kv": 16, "t_pp": 0.000000, "speed_pp": -nan, '
    '"t_tg": 0.500000, "speed_tg": 32.000000, "t": 0.500000, "speed": 32.000000}'
)
"""What 0.5.0 wrote."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=8, vocabulary=512)
    return path


@pytest.fixture
def engine(tools: Path) -> Engine:
    return engine_at(tools / "llama-server")


@pytest.fixture
def plan(model: Path) -> Plan:
    return plan_of("cpu", ("cpu", "cpu"), model=str(model), load_mode="mmap")


def test_a_nan_is_survived_and_speeds_come_from_times() -> None:
    assert read_sweep_row(REAL) == SweepRow(0, 2, 8, None, 32.0)
    prompt = REAL.replace('"pp": 0', '"pp": 64').replace('"t_pp": 0.000000', '"t_pp": 0.250000')
    assert read_sweep_row(prompt) == SweepRow(64, 2, 8, 512.0, 32.0)
    assert read_sweep_row(prompt.replace('"is_pp_shared": 0', '"is_pp_shared": 1')) == SweepRow(64, 2, 8, 256.0, 32.0)
    assert read_sweep_row(REAL.replace("0.500000", "nan")) == SweepRow(0, 2, 8, None, None)
    assert read_sweep_row(REAL.replace("0.500000", "inf")) == SweepRow(0, 2, 8, None, None)


@pytest.mark.parametrize("line", ["", "| PP | TG |", '{"pp": 64, "tg"', '{"pp": 64}', "[]", '{"pp": "x", "tg": 8}'])
def test_what_is_no_row_is_none(line: str) -> None:
    assert read_sweep_row(line) is None


def test_the_context_holds_every_sequence_and_the_warm_up() -> None:
    assert SweepPass((0, 1000), (1, 4), 32).context == 4 * 1280
    assert SweepPass((0,), (1,), 8).context == 512


def test_real_rows_come_in_order_with_an_empty_context_first(engine: Engine, plan: Plan) -> None:
    rows = list(BatchedSweep(engine).run(plan, SweepPass((0, 300), (1, 2), 4), limit_s=120))
    told = [(row.prompt_tokens, row.batch) for row in rows]
    # The tool's exit does not wait for its printing thread: the last line may be lost.
    assert told == [(0, 1), (0, 2), (300, 1), (300, 2)][: max(3, len(told))]
    assert {row.generated for row in rows} == {4}
    assert all((row.prefill_tps is None) == (row.prompt_tokens == 0) for row in rows)
    assert all(row.decode_tps for row in rows)


def test_the_plans_own_options_are_given(engine: Engine, plan: Plan) -> None:
    changed = replace(plan, parameters=replace(plan.parameters, kv_type_k="q8_0", ubatch=256, threads=1))
    words = " ".join(BatchedSweep(engine).arguments(changed, SweepPass((0, 512), (1, 16), 128)))
    for option in ("-dev none", "-ngl 0", "-ctk q8_0", "-ctv f16", "-ub 256", "-t 1", "-fa on", "-fit off"):
        assert f"{option} " in words
    assert words.endswith("-npp 0,512 -ntg 128 -npl 1,16 --output-format jsonl")


def test_a_sweep_that_is_left_early_ends_the_tool(engine: Engine, plan: Plan) -> None:
    rows = BatchedSweep(engine).run(plan, SweepPass((0, 64, 7000), (1,), 512), limit_s=120)
    next(rows)
    children = psutil.Process(os.getpid()).children(recursive=True)
    assert children
    rows.close()
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_what_cannot_run_is_said(engine: Engine, plan: Plan) -> None:
    with pytest.raises(NoEngineError, match="There is no llama-batched-bench beside"):
        BatchedSweep(replace(engine, tools={}))
    # Which of its last lines the tool's exit loses is chance; without any of them, its exit code is the reason.
    with pytest.raises(EngineFailedError, match=r"llama-batched-bench failed\. The engine (could|failed|exited)"):
        list(BatchedSweep(engine).run(replace(plan, model_path="/nowhere.gguf"), SweepPass((0,), (1,), 4), limit_s=60))
