"""A calibration from the measurements to the plan: used while it holds, named, and gone when forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app import calibration_store, store
from app.errors import BusyError, UsageError
from app.hardware.coefficients import shipped_coefficients
from app.jobs import measuring
from app.jobs.calibrating import coefficients_for, forget, known_trials
from app.jobs.checking import READ_BANDWIDTH, known_machine, machine_key
from app.jobs.measuring import MeasuringRequest, calibrate
from app.jobs.planning import PlanRequest, make_plan
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.runtimes.base import Engine
from app.runtimes.embedded import Embedded
from app.runtimes.registry import engine_at
from app.solver.ram import with_ram_bandwidth
from app.tuner import conditions, measurement
from app.tuner.conditions import conditions_of
from app.tuner.measurement import Measurement
from app.tuner.slice_folder import Slice
from detectors.facts import CpuPower, Machine
from tests.tuner.making import as_if, made


@pytest.fixture
def engine(tools: Path, home: Path) -> Engine:
    return engine_at(tools / "llama-server")


@pytest.fixture
def machine(home: Path) -> Machine:
    return known_machine()


def trials(machine: Machine, factor: float) -> list[Measurement]:
    """What a machine would measure that takes so many times as long as most."""
    base = shipped_coefficients()
    found = []
    for model in ("gpt-oss-20b", "qwen3-30b-a3b:Q4_K_M", "qwen3-4b:Q8_0"):
        for layers in (2, 4):
            shape = Slice(model, layers, 16 if "4b" not in model else None, 8192).shape()
            found.append(as_if(with_ram_bandwidth(machine), base, made(shape=shape, threads=2), factor))
    return found


def keep(machine: Machine, engine: Engine, measurements: list[Measurement]) -> None:
    text = conditions.to_json(conditions_of(machine, engine))
    number = calibration_store.begin_calibration(machine_key(machine), text)
    for one in measurements:
        calibration_store.save_trial(number, one.name, one.ms_per_token, measurement.to_json(one))


def test_without_a_calibration_the_shipped_constants_are_used(machine: Machine, engine: Engine) -> None:
    found = coefficients_for(machine, engine)
    assert found.coefficients == shipped_coefficients()
    assert found.notes == ()
    assert not store.store_path().exists(), "reading makes no database"


def test_a_calibration_is_used_and_named(machine: Machine, engine: Engine) -> None:
    keep(machine, engine, trials(machine, 1.5))
    found = coefficients_for(machine, engine)
    assert found.coefficients.calibrated.startswith("20")
    assert engine.version in found.coefficients.calibrated
    (note,) = found.notes
    assert note.startswith("Calibrated 20")
    assert "6 measurements of this machine" in note
    calibrated = [one for one in found.coefficients.values.values() if one.basis == "calibrated"]
    assert calibrated
    for one in calibrated:
        assert one.value / shipped_coefficients()[name_of(found.coefficients.values, one)] == pytest.approx(
            1.5, rel=0.2
        )


def name_of(values: object, one: object) -> str:
    assert hasattr(values, "items")
    (name,) = [name for name, other in values.items() if other is one]
    return str(name)


def test_the_newest_measurement_of_a_name_counts(machine: Machine, engine: Engine) -> None:
    keep(machine, engine, trials(machine, 3.0))
    keep(machine, engine, trials(machine, 1.0))
    known = known_trials(machine, engine)
    assert len(known.measurements) == 6
    found = coefficients_for(machine, engine).coefficients
    for name, one in found.values.items():
        assert one.value == pytest.approx(shipped_coefficients()[name], rel=0.05)


def test_another_engine_build_is_not_this_one(machine: Machine, engine: Engine) -> None:
    keep(machine, engine, trials(machine, 1.5))
    found = coefficients_for(machine, replace(engine, version="0.9.9 (fffffff)"))
    assert found.coefficients == shipped_coefficients()
    (note,) = found.notes
    assert "is not used: the engine was" in note
    assert "0.9.9 (fffffff)" in note
    assert "`moetune calibrate` measures again" in note


def test_another_power_state_is_not_this_one(machine: Machine, engine: Engine) -> None:
    assert machine.cpu is not None
    plugged = replace(machine, cpu=replace(machine.cpu, power=CpuPower(governor="performance", on_battery=False)))
    on_battery = replace(machine, cpu=replace(machine.cpu, power=CpuPower(governor="powersave", on_battery=True)))
    keep(plugged, engine, trials(machine, 1.5))
    assert coefficients_for(plugged, engine).coefficients.calibrated
    found = coefficients_for(on_battery, engine)
    assert not found.coefficients.calibrated
    assert "the CPU governor was performance and is powersave" in found.notes[0]
    assert "the power supply was mains and is a battery" in found.notes[0]


def test_another_machine_knows_nothing_of_it(machine: Machine, engine: Engine) -> None:
    keep(machine, engine, trials(machine, 1.5))
    assert coefficients_for(replace(machine, host_name="elsewhere"), engine).coefficients == shipped_coefficients()


def test_forgetting_leaves_the_shipped_constants(machine: Machine, engine: Engine) -> None:
    keep(machine, engine, trials(machine, 1.5))
    assert forget(machine) == 6
    assert coefficients_for(machine, engine).coefficients == shipped_coefficients()
    assert forget(machine) == 0


def test_trials_that_cannot_be_read_any_more_are_as_none(machine: Machine, engine: Engine) -> None:
    text = conditions.to_json(conditions_of(machine, engine))
    number = calibration_store.begin_calibration(machine_key(machine), text)
    calibration_store.save_trial(number, "old", 5.0, '{"form": "of another version"}')
    assert coefficients_for(machine, engine).coefficients == shipped_coefficients()


def test_a_plan_is_made_with_the_calibration_and_says_so(
    machine: Machine, engine: Engine, tools: Path, tmp_path: Path
) -> None:
    path = tmp_path / "small.gguf"
    write_slice(find_spec("demo"), path, layers=2, vocabulary=512)
    request = PlanRequest(str(path), engine=str(tools / "llama-server"))
    before = make_plan(request)
    keep(machine, engine, trials(machine, 2.0))
    after = make_plan(request)
    assert after.plan.decode.tokens_per_s < 0.75 * before.plan.decode.tokens_per_s
    assert any(note.startswith("Calibrated 20") for note in after.plan.notes)
    assert not any(note.startswith("Calibrated") for note in before.plan.notes)
    ranges = [one.plan.decode.high / one.plan.decode.low for one in (before, after)]
    assert ranges[1] < ranges[0]


def test_a_plan_of_a_captured_machine_does_not_use_this_one_s(
    machine: Machine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Path(__file__).parents[1] / "fixtures" / "hosts" / "debian12-epycvm-none"
    monkeypatch.setattr("app.jobs.planning.coefficients_for", lambda *_: pytest.fail("asked for this machine's"))
    planned = make_plan(PlanRequest("demo", capture=str(host)))
    assert planned.coefficients == shipped_coefficients()


def test_a_real_engine_is_measured_and_its_plans_use_it(engine: Engine, tools: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    write_slice(find_spec("demo"), path, layers=2, vocabulary=512)
    events: list[object] = []
    request = MeasuringRequest(
        model=str(path), devices=("CPU",), engine=str(tools / "llama-server"), force=True, limit_s=4
    )
    found = calibrate(request, on_event=events.append)
    own = [one for one in found.measurements if one.name.startswith("small.gguf")]
    assert {one.phase for one in own} == {"decode", "prefill"}
    assert any("time limit" in one.why for one in found.skipped)
    assert found.identified
    assert set(found.identified) | set(found.refused) == set(shipped_coefficients().values)
    assert found.ram is not None
    assert events
    planned = make_plan(PlanRequest(str(path), engine=str(tools / "llama-server")))
    assert any(note.startswith("Calibrated") for note in planned.plan.notes)
    decode = next(one for one in own if one.phase == "decode")
    assert planned.plan.decode.ms_per_token == pytest.approx(decode.ms_per_token, rel=0.5)


def test_an_engine_without_tools_leaves_the_measuring_to_the_next(
    engine: Engine, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = replace(engine, tools={})
    embedded = Embedded().discover()
    if not embedded:
        pytest.skip("llama-cpp-python is not installed")
    monkeypatch.setattr(measuring, "find_engines", lambda rpc, machine: (bare, *embedded))
    assert measuring.find_engine(MeasuringRequest(), machine).runtime == "embedded"
    monkeypatch.setattr(measuring, "find_engines", lambda rpc, machine: (engine, *embedded))
    assert measuring.find_engine(MeasuringRequest(), machine) == engine


def test_the_embedded_engine_is_measured_too(engine: Engine, machine: Machine, tmp_path: Path) -> None:
    if not Embedded().discover():
        pytest.skip("llama-cpp-python is not installed")
    path = tmp_path / "small.gguf"
    write_slice(find_spec("demo"), path, layers=1, vocabulary=512)
    store.save_measurement(machine_key(machine), READ_BANDWIDTH, 40.0, "GB/s")
    found = calibrate(MeasuringRequest(str(path), engine="embedded", force=True, limit_s=1))
    assert {one.phase for one in found.measurements} == {"decode", "prefill"}
    assert found.conditions.engine.startswith("embedded llama-cpp-python")
    assert known_trials(machine, engine).measurements == (), "another engine's plans do not use it"


def test_a_device_that_is_not_there_is_named(engine: Engine, tools: Path) -> None:
    with pytest.raises(UsageError, match="has no device 'CUDA7'"):
        calibrate(MeasuringRequest(devices=("CUDA7",), engine=str(tools / "llama-server"), force=True))


class Busy:
    """Others that keep most of the processor busy."""

    def __init__(self, engine_pid: int | None) -> None:
        pass

    def other_cores(self) -> float:
        return 1.4


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.telemetry.contention.Contention", Busy)
    monkeypatch.setattr(measuring, "BUSY_WATCH_S", 0.0)


@pytest.mark.usefixtures("busy")
def test_a_busy_machine_is_not_measured(engine: Engine, tools: Path) -> None:
    with pytest.raises(BusyError, match=r"Other programs keep 1\.4 of") as caught:
        calibrate(MeasuringRequest(engine=str(tools / "llama-server")))
    assert "--force" in caught.value.hint
    assert not store.store_path().exists()


@pytest.mark.usefixtures("busy")
def test_a_busy_machine_keeps_the_bandwidth_that_was_measured_before(
    machine: Machine, engine: Engine, tools: Path, tmp_path: Path
) -> None:
    path = tmp_path / "small.gguf"
    write_slice(find_spec("demo"), path, layers=1, vocabulary=512)
    store.save_measurement(machine_key(machine), READ_BANDWIDTH, 77.0, "GB/s")
    request = MeasuringRequest(str(path), devices=("CPU",), engine=str(tools / "llama-server"), force=True, limit_s=1)
    found = calibrate(request)
    assert found.ram is None
    assert known_machine().device("cpu").bandwidth_gbps == 77.0
    assert any("--force measured nevertheless" in note for note in found.notes)


def test_planning_does_not_load_what_measures() -> None:
    import subprocess
    import sys

    code = "import sys, app.jobs.planning; print([n for n in sys.modules if n.startswith('app.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "app.jobs.calibrating" in done.stdout
    assert not {"app.jobs.measuring", "app.tuner.session", "app.tuner.programme"} & set(eval(done.stdout))
