"""The parent's side: found without loading it, a command that runs, and the memory oracle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import NoEngineError
from app.runtimes.base import Engine, EngineDevice
from app.runtimes.embedded import Embedded, runtime
from app.runtimes.embedded.options import parse
from app.runtimes.load_log import parse as parse_log
from tests.runtimes.conftest import plan_of

from .engine_process import ROOT, EngineProcess

GPU = EngineDevice("CUDA0", "CUDA0", "a card", 24 << 30, 23 << 30, "gpu:0000:01:00.0")
APU = EngineDevice("Vulkan1", "Vulkan1", "another", 96 << 30, 90 << 30, "gpu:0000:c5:00.0")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOETUNE_HOME", str(tmp_path / "moetune"))


@pytest.fixture
def found() -> Engine:
    (engine,) = Embedded().discover()
    return engine


@pytest.fixture
def processes() -> Iterator[list[EngineProcess]]:
    running: list[EngineProcess] = []
    yield running
    for process in running:
        process.kill()


def options_of(argv: tuple[str, ...]) -> tuple[str, ...]:
    return argv[argv.index("app.runtimes.embedded") + 1 :]


def test_found_with_its_version_and_devices(found: Engine) -> None:
    assert found.runtime == "embedded"
    assert found.origin == "embedded"
    assert found.version.startswith("llama-cpp-python 0.")
    assert "CPU" in found.backends
    assert found.devices[0].device_id == "cpu"
    assert {"-ot", "-dev", "-lm"} <= found.flags
    assert "--rpc" not in found.flags


def test_discovery_loads_no_llama_cpp() -> None:
    script = "import sys; from app.runtimes.embedded import Embedded; assert Embedded().discover(); print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not [name for name in said.split() if name.startswith(("llama_cpp", "numpy"))]


def test_second_discovery_asks_nobody(found: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    if found.backends != ("CPU",):
        pytest.skip("a build with GPU backends is asked each time")
    monkeypatch.setattr(runtime, "ask", lambda *_: pytest.fail("a child was asked"))
    assert Embedded().discover() == (found,)


def test_cpu_plan_uses_no_device(found: Engine) -> None:
    command = Embedded().command(plan_of("cpu", ("cpu",) * 4), found, port=9001)
    options = parse(options_of(command.argv))
    assert (options.devices, options.gpu_layers, options.overrides) == ((), 0, ())
    assert (options.host, options.port, command.url) == ("127.0.0.1", 9001, "http://127.0.0.1:9001")
    assert (options.context, options.ubatch, options.load_mode) == (8192, 512, "none")


def test_variables_that_would_change_the_engine_are_taken_out(found: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_CPP_LIB_PATH", "/another/build")
    assert Embedded().command(plan_of("cpu", ("cpu",)), found, port=9001).unset == ("LLAMA_CPP_LIB_PATH",)


def test_two_device_plan_puts_experts_by_buffer_type(found: Engine) -> None:
    engine = replace(found, devices=(*found.devices, GPU, APU))
    plan = plan_of("gpu:0000:01:00.0", ("gpu:0000:c5:00.0",) * 3 + ("cpu",))
    options = parse(options_of(Embedded().command(plan, engine, port=9001).argv))
    assert options.devices == ("CUDA0", "Vulkan1")
    assert options.tensor_split == (1.0, 0.0)
    assert {buffer_type for _, buffer_type in options.overrides} == {"Vulkan1", "CPU"}
    assert any(pattern.startswith(r"blk\.([0-2])\.") for pattern, _ in options.overrides)


def test_several_sequences_are_refused(found: Engine) -> None:
    plan = plan_of("cpu", ("cpu",))
    many = replace(plan, parameters=replace(plan.parameters, parallel=4))
    with pytest.raises(NoEngineError, match="one sequence at a time"):
        Embedded().command(many, found, port=9001)
    assert Embedded().memory_oracle(many, found) is None


def test_command_runs_from_a_folder_with_another_app(
    found: Engine, model: Path, tmp_path: Path, processes: list[EngineProcess]
) -> None:
    decoy = tmp_path / "elsewhere"
    (decoy / "app").mkdir(parents=True)
    (decoy / "app" / "__init__.py").write_text("raise SystemExit('the wrong app')")
    command = Embedded().command(plan_of("cpu", ("cpu",) * 2, model=str(model)), found, port=0)
    env = {name: value for name, value in os.environ.items() if name not in command.unset} | command.env
    processes.append(EngineProcess(argv=command.argv, env=env, cwd=decoy))
    assert processes[0].ready().post("/completion", prompt="abc", n_predict=3)["content"]


def test_oracle_says_what_the_engine_then_takes(found: Engine, model: Path, processes: list[EngineProcess]) -> None:
    plan = plan_of("cpu", ("cpu",) * 2, model=str(model))
    told = Embedded().memory_oracle(plan, found)
    assert told is not None
    weights, kv, compute = told["cpu"]
    command = Embedded().command(plan, found, port=0)
    processes.append(EngineProcess(argv=command.argv, env={**os.environ, **command.env}).ready())
    report = parse_log(processes[0].lines)
    rounding = 0.02 * 2**20  # the log has two decimals of a MiB for each buffer
    assert weights == pytest.approx(sum(report.weight_bytes.values()), abs=rounding)
    assert compute == pytest.approx(sum(report.compute_bytes.values()), abs=rounding)
    outputs = 4 * 512 * 2  # KV counts the output buffer, a row of logits; the log's report does not
    assert kv == pytest.approx(sum(report.kv_bytes.values()), abs=rounding + outputs)
    assert Embedded().memory_oracle(plan, found) == told


def test_oracle_knows_nothing_of_a_missing_model(found: Engine) -> None:
    assert Embedded().memory_oracle(plan_of("cpu", ("cpu",), model="/nowhere.gguf"), found) is None
