"""A dense model that neither of two real devices holds alone: divided, agreed by the engine, and run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.jobs.planning import PlanRequest, make_plan
from app.jobs.running import ask, launch
from app.launch.supervisor import Supervisor
from app.models.catalog import find_spec
from app.models.gguf import read_header
from app.models.shape import shape_of
from app.models.slices import write_slice
from app.solver.model import Workload
from app.units import MIB


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "dense.gguf"
    write_slice(find_spec("qwen3-0.6b"), path, layers=8)
    return path


def test_a_model_that_neither_device_holds_is_divided_and_runs(
    model: Path, tools: Path, rpc_pair: tuple[str, str], home: Path
) -> None:
    shape = shape_of(read_header(model))
    layer = shape.layers[0].weight_bytes
    room = shape.head_bytes + 5 * layer + 64 * MIB
    request = PlanRequest(
        model=str(model),
        workload=Workload(context=2048),
        rpc=rpc_pair,
        devices=("RPC0", "RPC1"),
        limits=(("RPC0", 6 * layer + 48 * MIB), ("RPC1", room)),
        engine=str(tools / "llama-server"),
        port=0,
    )
    planned = make_plan(request)
    plan = planned.plan
    assert len(plan.placement.attention_devices) == 2
    assert planned.engine_checked
    for memory in plan.memory:
        assert memory.basis == "measured"
        assert memory.available_bytes is not None
        assert memory.total_bytes <= memory.available_bytes
    argv = planned.command.argv
    assert "-ts" in argv
    assert "-ot" not in argv

    async def answer() -> str:
        supervisor = Supervisor()
        try:
            await launch(planned, supervisor)
            heard: list[str] = []
            await ask(planned.command.url, "Once upon a time", tokens=8, ignore_eos=True, on_text=heard.append)
            return "".join(heard)
        finally:
            await supervisor.stop()

    assert asyncio.run(answer())
