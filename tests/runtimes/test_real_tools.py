"""The real llama.cpp: its devices, its memory oracle, and a placement over two devices that its own log confirms."""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import NoEngineError
from app.models.slices import find_spec, write_slice
from app.runtimes import llama_probe, memory_oracle, registry
from app.runtimes.base import Command, Engine, LoadReport
from app.runtimes.llama_probe import Answer
from app.runtimes.llama_server import LlamaServer
from app.runtimes.load_log import explain_failure, parse
from app.solver.plan import Plan
from app.units import MIB
from detectors.facts import Machine
from tests.ports import free_port

from .conftest import plan_of

LAYERS = 3


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small gpt-oss: true structure, few layers and experts, random weights."""
    path = tmp_path_factory.mktemp("model") / "small.gguf"
    write_slice(find_spec("demo"), path, layers=LAYERS)
    return path


@pytest.fixture
def engine(tools: Path, home: Path) -> Engine:
    return registry.engine_at(tools / "llama-server")


@pytest.fixture
def pair(tools: Path, home: Path, rpc_pair: tuple[str, str]) -> Engine:
    """The engine with two RPC devices."""
    return registry.engine_at(tools / "llama-server", rpc_pair)


def split(engine: Engine, model: Path) -> Plan:
    """Attention and KV on the first RPC device, every expert on the second."""
    attention, experts = (device.device_id for device in engine.devices[1:3])
    assert attention is not None
    assert experts is not None
    return plan_of(attention, (experts,) * LAYERS, model=str(model))


@contextmanager
def served(command: Command, log: Path) -> Iterator[str]:
    """The command, up and answering; yields its URL."""
    environment = {k: v for k, v in os.environ.items() if k not in command.unset} | command.env
    with log.open("wb") as output:
        server = subprocess.Popen(command.argv, stdout=output, stderr=output, env=environment)
    try:
        while server.poll() is None:
            try:
                with urllib.request.urlopen(f"{command.url}/health", timeout=5) as answer:
                    assert answer.status == 200
                break
            except (urllib.error.URLError, ConnectionError):
                # 503 while it loads: the load itself is what is waited for.
                with pytest.raises(subprocess.TimeoutExpired):
                    server.wait(timeout=0.05)
        yield command.url
    finally:
        server.terminate()
        server.wait(timeout=20)


def test_the_engine_says_its_version_and_lists_its_tools(engine: Engine) -> None:
    assert engine.version[0].isdigit()
    assert "RPC" in engine.backends
    assert {"llama-fit-params", "llama-bench", "ggml-rpc-server"} <= set(engine.tools)
    assert {"-ot", "--override-tensor", "-dev", "-lm", "--metrics"} <= engine.flags


def test_rpc_devices_have_buffer_types_of_their_own(pair: Engine, rpc_pair: tuple[str, str]) -> None:
    remote = pair.devices[1:]
    assert [device.name for device in remote] == ["RPC0", "RPC1"]
    assert [device.buffer_type for device in remote] == [f"RPC0[{server}]" for server in rpc_pair]
    assert all(device.total_bytes and device.total_bytes > 1 << 30 for device in remote)


def test_the_machine_gains_the_remote_devices(pair: Engine, rpc_pair: tuple[str, str]) -> None:
    machine = registry.machine_with_remotes(Machine("host"), pair)
    assert [device.id for device in machine.devices] == [f"remote:{server}" for server in rpc_pair]
    assert machine.pool(f"remote:{rpc_pair[1]}").total_bytes == pair.devices[2].total_bytes
    assert registry.machine_with_remotes(machine, pair) == machine


def test_find_engines_names_a_server_that_does_not_answer(tools: Path, home: Path) -> None:
    with pytest.raises(NoEngineError, match=r"127\.0\.0\.1:1 "):
        LlamaServer().discover(("127.0.0.1:1",))


def test_the_engines_own_words_for_that_are_understood(tools: Path) -> None:
    argv = [str(tools / "llama-server"), "--rpc", "127.0.0.1:1", "--list-devices"]
    assert llama_probe.ask(argv, 20).trouble == "No RPC server answers at 127.0.0.1:1."


def test_the_oracle_answers_for_the_cpu(engine: Engine, model: Path) -> None:
    answer = memory_oracle.ask_memory(plan_of("cpu", ("cpu",) * LAYERS, model=str(model)), engine)
    assert answer.reason == ""
    assert answer.memory_bytes is not None
    weights, kv, compute = answer.memory_bytes["cpu"]
    assert abs(weights - model.stat().st_size) < 8 * MIB
    assert kv > 0
    assert compute > 0


def test_the_oracle_splits_by_device(pair: Engine, model: Path) -> None:
    plan = split(pair, model)
    memory = LlamaServer().memory_oracle(plan, pair)
    assert memory is not None
    attention, experts = plan.placement.devices
    assert memory[experts][0] > memory[attention][0]
    assert memory[attention][1] > 0
    assert memory[experts][1] == 0


def test_the_oracle_is_asked_once(engine: Engine, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of("cpu", ("cpu",) * LAYERS, model=str(model))
    first = memory_oracle.ask_memory(plan, engine)

    def no_second_question(*_: object) -> Answer:
        raise AssertionError("asked again")

    monkeypatch.setattr(memory_oracle, "ask", no_second_question)
    assert memory_oracle.ask_memory(plan, engine) == first
    longer = replace(plan, parameters=replace(plan.parameters, context=16384))
    with pytest.raises(AssertionError, match="asked again"):
        memory_oracle.ask_memory(longer, engine)


def test_the_oracle_says_why_it_cannot_tell(engine: Engine, tmp_path: Path) -> None:
    plan = plan_of("cpu", ("cpu",), model=str(tmp_path / "no.gguf"))
    assert "no model file" in memory_oracle.ask_memory(plan, engine).reason
    toolless = replace(engine, tools={})
    assert "no llama-fit-params" in memory_oracle.ask_memory(plan, toolless).reason


def test_the_log_shows_the_split_that_was_planned(pair: Engine, model: Path, tmp_path: Path) -> None:
    plan = split(pair, model)
    log = tmp_path / "log"
    with served(LlamaServer().command(plan, pair, port=free_port()), log):
        report: LoadReport = parse(log.read_text(errors="replace").splitlines())
    first, second = (device.buffer_type for device in pair.devices[1:3])
    assert report.weight_bytes[second] > report.weight_bytes[first]
    assert set(report.kv_bytes) == {first}
    # Into the experts and out again in every layer, and the embedding on the host.
    assert report.splits is not None
    assert report.splits >= 2 * LAYERS
    oracle = LlamaServer().memory_oracle(plan, pair)
    assert oracle is not None
    for device in pair.devices[1:3]:
        assert device.device_id is not None
        assert abs(oracle[device.device_id][0] - report.weight_bytes[device.buffer_type]) < MIB


def test_a_port_in_use_is_named(engine: Engine, model: Path, tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = int(other.getsockname()[1])
        command = LlamaServer().command(plan_of("cpu", ("cpu",) * LAYERS, model=str(model)), engine, port=port)
        answer = llama_probe.ask(command.argv, 30)
    assert f"127.0.0.1:{port}: another program has that port" in answer.trouble


def test_a_truncated_model_is_named(engine: Engine, model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.gguf"
    with model.open("rb") as whole:
        half.write_bytes(whole.read(model.stat().st_size // 2))
    command = LlamaServer().command(plan_of("cpu", ("cpu",), model=str(half)), engine, port=free_port())
    assert "incomplete" in llama_probe.ask(command.argv, 30).trouble


def test_a_buffer_type_that_is_gone_is_named(engine: Engine, model: Path) -> None:
    answer = llama_probe.ask([str(engine.path), "-m", str(model), "-ot", "exps=CUDA7"], 30)
    assert "no buffer type of the name" in answer.trouble
    assert explain_failure(answer.stderr.splitlines(), answer.exit_code)[0] == answer.trouble


def test_the_real_help_lists_every_option_we_have_on_record(engine: Engine) -> None:
    from app.runtimes.llama_flags import parse_help

    from .conftest import OPTIONS

    recorded = parse_help((OPTIONS / "llama-server-0.5.0.txt").read_text())
    if not engine.version.startswith("0.5.0"):
        pytest.skip(f"the record is of 0.5.0, the tools are {engine.version}")
    assert engine.flags == recorded.flags
    assert engine.switches == recorded.switches
