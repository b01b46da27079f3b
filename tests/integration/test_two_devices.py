"""Two RPC servers on loopback are two real devices: the planned split runs, and the engine's own log confirms it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.runtimes.load_log import parse
from app.solver.memory import compute_bytes, kv_bytes, weight_bytes
from app.solver.model import ModelShape, Workload
from app.units import MIB

CONTEXT = 65536
"""Its KV cache does not fit beside half of the experts: there is one split only that fits both devices."""
SLACK = 12 * MIB
"""Less than the experts of one layer."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gpt-oss-like model of six layers."""
    path = tmp_path_factory.mktemp("models") / "small.gguf"
    write_slice(find_spec("demo"), path, layers=6)
    return path


@pytest.fixture
def request_for(model: Path, tools: Path, rpc_pair: tuple[str, str], home: Path) -> PlanRequest:
    """Device A has room for attention and KV only, device B for the experts only."""
    from app.models.gguf import read_header
    from app.models.shape import shape_of

    near, far = _needs(shape_of(read_header(model)))
    return PlanRequest(
        model=str(model),
        workload=Workload(context=CONTEXT),
        rpc=rpc_pair,
        devices=("RPC0", "RPC1"),
        limits=(("RPC0", near + SLACK), ("RPC1", far + SLACK)),
        kv_type="f16",
        engine=str(tools / "llama-server"),
        port=0,
    )


def _needs(shape: ModelShape) -> tuple[int, int]:
    from app.solver.plan import Parameters, Placement

    placement = Placement.on("a", ("b",) * len(shape.layers))
    parameters = Parameters(CONTEXT, 1, 512, 2048, "f16", "f16", True, "mmap", 1, 1)
    weights, compute = weight_bytes(shape, placement), compute_bytes(shape, placement, parameters)
    return weights["a"] + compute["a"] + kv_bytes(shape, placement, parameters)["a"], weights["b"] + compute["b"]


def ids(planned: PlannedRun) -> dict[str, str]:
    return {device.name: device.device_id or "" for device in planned.engine.devices}


def test_plan_chooses_the_split_and_the_engine_agrees_on_the_bytes(request_for: PlanRequest) -> None:
    planned = make_plan(request_for)
    plan, device = planned.plan, ids(planned)
    assert plan.placement.attention_devices == (device["RPC0"],)
    assert set(plan.placement.experts) == {device["RPC1"]}
    assert planned.engine_checked
    formula = _needs(planned.shape)
    for name, expected in zip(("RPC0", "RPC1"), formula, strict=True):
        told = plan.memory_of(device[name]).total_bytes
        assert abs(told - expected) <= max(8 * MIB, 0.05 * expected), (name, told, expected)
    argv = planned.command.argv
    assert argv[argv.index("-dev") + 1] == "RPC0,RPC1"
    assert argv[argv.index("-ts") + 1] == "1,0"
    assert argv[argv.index("-ot") + 1].endswith(f"=RPC0[{request_for.rpc[1]}]")


def test_run_generates_with_experts_on_b_and_kv_on_a(request_for: PlanRequest, home: Path) -> None:
    near, far = request_for.rpc
    limits = [word for name, size in request_for.limits for word in ("--limit", f"{name}={size}")]
    words = ["run", request_for.model, "-c", str(CONTEXT), "--rpc", f"{near},{far}", "--devices", "RPC0,RPC1", *limits,
             "--kv-type", "f16",
             "--engine", request_for.engine or "", "--port", "0", "--prompt", "Once upon a time", "--tokens", "24",
             "--json"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "app", *words],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    a, b = f"RPC0[{near}]", f"RPC0[{far}]"
    load = report["load"]
    experts = weight_bytes_of_experts(request_for.model)
    assert abs(load["weight_bytes"][b] - experts) < 2 * MIB
    assert load["kv_bytes"].keys() == {a}
    assert load["weight_bytes"][a] < experts
    assert load["splits"] >= 2 * 6
    assert report["decode_tps"] > 0
    assert report["run"]["answers"][0].strip()
    decode = report["run"]["planned"]["plan"]["decode"]
    print(f"two devices: predicted {decode['tokens_per_s']:.1f} t/s, measured {report['decode_tps']:.1f} t/s")
    left = [p for p in psutil.process_iter(["cmdline"]) if request_for.model in (p.info["cmdline"] or [])]
    assert not left


def weight_bytes_of_experts(model: str) -> int:
    from app.models.gguf import read_header
    from app.models.shape import shape_of

    return shape_of(read_header(model)).expert_bytes


def test_the_load_log_of_the_run_is_what_the_plan_said(request_for: PlanRequest) -> None:
    """Weights and KV within 2 %, compute within 15 % of what the plan puts on each device."""
    import asyncio

    from app.jobs.running import launch
    from app.launch.supervisor import Supervisor

    planned = make_plan(request_for)
    supervisor = Supervisor()

    async def lines() -> list[str]:
        try:
            await launch(planned, supervisor)
        finally:
            await supervisor.stop()
        return list(supervisor.tail)

    report = parse(asyncio.run(lines()))
    for endpoint, name in zip(request_for.rpc, ("RPC0", "RPC1"), strict=True):
        memory = planned.plan.memory_of(ids(planned)[name])
        buffer = f"RPC0[{endpoint}]"
        assert report.weight_bytes[buffer] == pytest.approx(memory.weight_bytes, rel=0.02, abs=MIB)
        assert report.kv_bytes.get(buffer, 0) == pytest.approx(memory.kv_bytes, rel=0.02, abs=MIB)
        assert report.compute_bytes[buffer] == pytest.approx(memory.compute_bytes, rel=0.15, abs=2 * MIB)
