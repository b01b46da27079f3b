"""The launch ladder with the real engine: a device that gives less memory than it says is left in peace."""

from __future__ import annotations

import asyncio
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.load_report import LoadCheck, check_load
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.jobs.running import launch
from app.launch.supervisor import Supervisor
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.runtimes.load_log import BreakdownRow, breakdown
from app.solver.model import Workload
from tests.conftest import await_listening
from tests.ports import free_port

ADDRESS_SPACE = 420_000 * 1024
"""The limited server's: the program itself takes about 100 MB of it, the model wants 270 MiB and its cache 100."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "demo.gguf"
    write_slice(find_spec("demo"), path)
    return path


@pytest.fixture
def servers(tools: Path) -> Iterator[tuple[str, str]]:
    """Two RPC servers; the first may take little memory, and says that it has all of the machine's."""
    started, endpoints = [], []
    for limit in (ADDRESS_SPACE, resource.RLIM_INFINITY):
        port = free_port()
        process = subprocess.Popen(
            [tools / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, restore_signals=False,
        )  # fmt: skip
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, limit))
        started.append(process)
        await_listening(port)
        endpoints.append(f"127.0.0.1:{port}")
    yield endpoints[0], endpoints[1]
    for process in started:
        process.kill()
        process.wait()


def test_a_device_that_refuses_gets_less_and_the_rest_goes_elsewhere(
    model: Path, tools: Path, servers: tuple[str, str], home: Path
) -> None:
    request = PlanRequest(
        model=str(model), workload=Workload(context=32768), rpc=servers, devices=("RPC0", "RPC1"),
        engine=str(tools / "llama-server"), port=0,
    )  # fmt: skip
    first = make_plan(request)
    assert first.engine_checked, "the engine agrees with the plan: only the start shows what the server gives"
    small = f"remote:{servers[0]}"
    assert small in first.plan.placement.devices
    told: list[str] = []

    async def run() -> tuple[PlannedRun, LoadCheck, tuple[BreakdownRow, ...]]:
        supervisor = Supervisor()
        try:
            ran = await launch(first, supervisor, told.append)
            load = check_load(ran, tuple(supervisor.tail))
        finally:
            await supervisor.stop()
        return ran, load, breakdown(supervisor.tail)

    ran, load, account = asyncio.run(run())
    assert f"RPC0[{servers[0]}] ran out of memory" in told[0]
    assert "of RPC0 (attempt 2 of 4)" in told[0]
    before = {memory.device_id: memory.total_bytes for memory in first.plan.memory}
    after = {memory.device_id: memory.total_bytes for memory in ran.plan.memory}
    assert after.get(small, 0) < before[small]
    assert load.told == (), "what was planned was loaded"
    remote = {device.name: device.loaded_bytes for device in load.devices if device.name.startswith("RPC")}
    assert {row.name for row in account} >= set(remote)
    for row in account:
        if row.name in remote:
            own = row.model_bytes + row.context_bytes + row.compute_bytes
            assert own == pytest.approx(remote[row.name], rel=0.02)
