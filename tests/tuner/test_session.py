"""Doing the programme with a real engine on slices that take a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.runtimes.base import Engine
from app.runtimes.llama_bench import bench_of
from app.runtimes.registry import engine_at
from app.solver.plan import Placement
from app.tuner.measurement import Measurement
from app.tuner.programme import REPETITIONS, Step
from app.tuner.session import Began, Event, Skipped, measure
from app.tuner.slice_folder import Slice, SliceFolder
from tests.tuner.making import parameters

TINY = Slice("demo", 2, 8, 512)


@pytest.fixture
def engine(tools: Path) -> Engine:
    return engine_at(tools / "llama-server")


def step(name: str = "tiny", subject: Slice | Path = TINY, expected_s: float = 0.5) -> Step:
    placement = Placement.on("cpu", ("cpu", "cpu"))
    return Step(name, subject, TINY.shape(), placement, parameters(threads=1), (32,), (4,), (0, 64), expected_s)


def run(steps: list[Step], engine: Engine, limit_s: float = 60.0) -> list[Event]:
    with SliceFolder() as folder:
        return list(measure(steps, bench_of(engine), engine, folder, limit_s=limit_s))


def test_each_row_becomes_a_measurement_without_its_first_repetition(engine: Engine, home: Path) -> None:
    began, *found = run([step()], engine)
    assert began == Began("tiny", 1, 1)
    assert [one.name for one in found] == [
        "tiny: prompt of 32", "tiny: decode", "tiny: prompt of 32 at 64", "tiny: decode at 64",
    ]  # fmt: skip
    for one in found:
        assert isinstance(one, Measurement)
        assert len(one.samples_ms) == REPETITIONS - 1
        assert len(one.shape.layers) == 2


def test_a_step_that_fails_is_skipped_with_its_reason_and_the_rest_is_done(
    engine: Engine, home: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    events = run([step("broken", broken), step("whole")], engine)
    skipped = [event for event in events if isinstance(event, Skipped)]
    assert [one.name for one in skipped] == ["broken"]
    assert "llama-bench failed" in skipped[0].why
    assert sum(isinstance(event, Measurement) for event in events) == 4


def test_nothing_begins_that_would_not_end_in_time(engine: Engine, home: Path) -> None:
    events = run([step("short"), step("long", expected_s=1000.0)], engine)
    assert events[-1] == Skipped("long", "the time limit of 60 s")


def test_a_device_with_too_little_memory_is_not_tried(engine: Engine, home: Path) -> None:
    cpu = replace(engine.devices[0], free_bytes=1 << 20)
    (event,) = run([step()], replace(engine, devices=(cpu,)))
    assert isinstance(event, Skipped)
    assert "CPU has 1 MiB free" in event.why


def test_a_device_that_the_engine_lacks_is_skipped_by_name(engine: Engine, home: Path) -> None:
    elsewhere = replace(step(), placement=Placement.on("gpu:0000:01:00.0", ("cpu", "cpu")))
    event = run([elsewhere], engine)[-1]
    assert isinstance(event, Skipped)
    assert "cannot compute on gpu:0000:01:00.0" in event.why
