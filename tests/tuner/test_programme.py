"""What is measured on which machine, and in which order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.hardware.coefficients import shipped_coefficients
from app.models.catalog import find_spec, model_names
from app.solver.scene import Engine
from app.tuner.programme import FULL, QUICK, Programme, Step, needed_bytes
from app.tuner.slice_folder import Slice
from detectors.facts import Machine
from tests.solver.machines import desktop, plain, strix_halo_with_radeon


def programme(machine: Machine, **changes: object) -> Programme:
    ids = tuple(device.id for device in machine.devices)
    made = Programme(machine, Engine(), shipped_coefficients(), ids, QUICK, threads=2)
    return replace(made, **changes)  # type: ignore[arg-type]


def slices(steps: tuple[Step, ...]) -> set[Slice]:
    return {step.subject for step in steps if isinstance(step.subject, Slice)}


def test_a_cpu_alone_has_every_kind_of_trial_and_no_crossing() -> None:
    steps = programme(plain()).steps()
    assert {step.placement.devices for step in steps} == {("cpu",)}
    assert {step.parameters.kv_type_k for step in steps} == {"f16", "q8_0"}
    assert {one.model for one in slices(steps)} == {
        "gpt-oss-20b", "qwen3-30b-a3b:Q4_K_M", "qwen3-4b:Q8_0", "qwen3-0.6b:Q8_0",
    }  # fmt: skip
    assert {one.layers for one in slices(steps) if one.model == "gpt-oss-20b"} == {2, 4}
    assert any(max(step.depths) >= 1024 for step in steps)
    assert any(step.prompts for step in steps)


def test_the_first_step_is_the_one_that_tells_most() -> None:
    first = programme(plain()).steps()[0]
    assert isinstance(first.subject, Slice)
    assert first.subject.model == "gpt-oss-20b"
    assert first.generated
    assert first.prompts


def test_a_card_is_measured_alone_and_with_experts_on_the_cpu_with_two_numbers_of_crossings() -> None:
    steps = programme(desktop()).steps()
    assert {step.placement.devices for step in steps} == {("cpu",), ("gpu:a",), ("gpu:a", "cpu")}
    apart = [step for step in steps if step.placement.devices == ("gpu:a", "cpu")]
    assert {len(step.shape.layers) for step in apart if step.generated} == {2, 4, 8}
    ubatches = {step.parameters.ubatch for step in apart if step.prompts}
    assert ubatches == {512, 2048}, "the copy of experts is told from multiplying them by two ubatches"


def test_attention_goes_to_the_fastest_memory_first_and_never_to_the_cpu_beside_a_gpu() -> None:
    machine = strix_halo_with_radeon()
    quick = {step.placement.devices for step in programme(machine).steps() if len(step.placement.devices) > 1}
    assert quick == {("gpu:a", "gpu:i"), ("gpu:a", "cpu")}
    full = programme(machine, effort=FULL).steps()
    pairs = {step.placement.devices for step in full if len(step.placement.devices) > 1}
    assert pairs == quick | {("gpu:i", "gpu:a"), ("gpu:i", "cpu")}


def test_only_the_devices_that_were_asked_for() -> None:
    steps = programme(desktop(), devices=("gpu:a",)).steps()
    assert {step.placement.devices for step in steps} == {("gpu:a",)}


@pytest.mark.parametrize("effort", [QUICK, FULL])
def test_slices_keep_within_their_size_and_steps_within_their_time(effort: object) -> None:
    made = programme(plain(), effort=effort)
    steps = made.steps()
    for step in steps:
        assert isinstance(step.subject, Slice)
        spec = find_spec(step.subject.model)
        smallest = step.subject.experts is not None and step.subject.experts < 4 * spec.experts_used
        assert step.shape.file_bytes <= made.effort.slice_bytes or smallest
    names = [step.name for step in steps]
    assert len(set(names)) == len(names), "a name is what a measurement is found again by"


def test_a_faster_machine_gets_longer_caches_and_prompts() -> None:
    slow, fast = (programme(machine, effort=FULL).steps() for machine in (plain(), desktop()))
    assert max(max(step.depths) for step in slow) < max(max(step.depths) for step in fast)
    assert max(max(step.prompts, default=0) for step in slow) < max(max(step.prompts, default=0) for step in fast)


@pytest.mark.parametrize("model", model_names())
def test_every_described_model_can_be_measured_by_slices_that_hold_its_experts(model: str) -> None:
    steps = programme(plain(), model=model).steps()
    own = [step for step in steps if isinstance(step.subject, Slice) and step.subject.model == model]
    assert len({len(step.shape.layers) for step in own}) == (2 if find_spec(model).layers > 2 else 1)
    if find_spec(model).experts:
        assert all(step.shape.is_moe for step in own)


def test_a_model_s_own_file_comes_first() -> None:
    shape = Slice("demo", 12).shape()
    steps = programme(desktop(), file=Path("/models/demo.gguf"), file_shape=shape).steps()
    own = [step for step in steps if step.subject == Path("/models/demo.gguf")]
    assert steps[: len(own)] == tuple(own)
    assert {step.placement.devices for step in own} == {("cpu",), ("gpu:a",), ("gpu:a", "cpu")}


def test_a_step_knows_what_it_takes_of_each_device() -> None:
    step = next(s for s in programme(desktop()).steps() if s.placement.devices == ("gpu:a", "cpu"))
    needed = dict(needed_bytes(step))
    assert needed["cpu"] > step.shape.expert_bytes
    assert needed["gpu:a"] > step.shape.resident_bytes - step.shape.head_bytes
