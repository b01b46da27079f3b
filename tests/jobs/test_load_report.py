"""What was loaded beside what was planned: told where it differs by more than 5 %."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.load_report import check_load
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.models.catalog import find_spec
from app.models.slices import write_sparse
from app.solver.model import Workload
from app.units import MIB
from tests.runtimes.conftest import device, engine_of
from tests.solver.machines import desktop


@pytest.fixture
def planned(tmp_path: Path, home: Path) -> PlannedRun:
    model = write_sparse(find_spec("gpt-oss-20b"), tmp_path / "oss.gguf").path
    engine = engine_of("0.5.0", (device("CUDA0", "gpu:a"),))
    return make_plan(PlanRequest(str(model), Workload(context=8192), port=8080), desktop(), (engine,))


def log_of(planned: PlannedRun, *, weights: float = 1.0, mapped: bool = False) -> list[str]:
    """What the engine would say; `weights` times the planned weights on the card."""
    lines = ["sched_reserve: graph: nodes = 727, splits = 2, input objects = 4, input tensors = 9"]
    for memory in planned.plan.memory:
        name = "CUDA0" if memory.device_id == "gpu:a" else "CPU"
        share = weights if name == "CUDA0" else 1.0
        buffer = f"{name}_Mapped" if mapped and name == "CPU" else name
        lines += [
            f"load_tensors: {buffer} model buffer size = {share * memory.weight_bytes / MIB:.2f} MiB",
            f"llama_kv_cache: {name} KV buffer size = {memory.kv_bytes / MIB:.2f} MiB",
            f"sched_reserve: {name} compute buffer size = {memory.compute_bytes / MIB:.2f} MiB",
        ]
    return lines


@pytest.mark.parametrize("share", [1.0, 1.03, 0.97])
def test_a_small_difference_is_not_told(planned: PlannedRun, share: float) -> None:
    check = check_load(planned, log_of(planned, weights=share))
    assert {one.device_id for one in check.devices} >= {"gpu:a", "cpu"}
    assert check.told == ()
    assert check.splits == 2


def test_a_large_difference_is_told_with_both_figures(planned: PlannedRun) -> None:
    [line] = check_load(planned, log_of(planned, weights=1.2)).told
    assert line.startswith("CUDA0 loaded ")
    assert ", planned " in line
    assert "(+1" in line
    assert len(check_load(planned, log_of(planned, weights=0.8)).told) == 1


def test_a_device_that_the_plan_leaves_empty_is_told(planned: PlannedRun) -> None:
    from dataclasses import replace

    only_host = replace(
        planned, plan=replace(planned.plan, memory=tuple(m for m in planned.plan.memory if m.device_id == "cpu"))
    )
    [line] = check_load(only_host, log_of(planned)).told
    assert "planned 0" in line


def test_mapped_weights_are_not_judged(planned: PlannedRun) -> None:
    """The engine names the stretch of the file, with what lies between and belongs to other devices."""
    lines = [line.replace("CPU_Mapped model buffer size = ", "CPU_Mapped model buffer size = 9")
             for line in log_of(planned, mapped=True)]  # fmt: skip
    assert check_load(planned, lines).told == ()


def test_a_log_that_says_nothing_is_no_difference(planned: PlannedRun) -> None:
    check = check_load(planned, ["srv: bye"])
    assert (check.devices, check.told) == ((), ())
