"""From measurements to constants: a machine that is made up is found again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.hardware.coefficients import shipped_coefficients
from app.solver.coefficients import Coefficients
from app.solver.scene import Engine
from app.tuner.evidence import fitted, trial_of
from app.tuner.measurement import Measurement
from app.tuner.slice_folder import Slice
from detectors.facts import Machine
from tests.solver.machines import desktop
from tests.tuner.making import as_if, made

FEW, MANY = Slice("gpt-oss-20b", 2, 8, 8192).shape(), Slice("gpt-oss-20b", 4, 8, 8192).shape()
DENSE, CACHE = Slice("qwen3-4b:Q8_0", 4, None, 8192).shape(), Slice("qwen3-0.6b:Q8_0", 4, None, 8192).shape()


def changed(base: Coefficients, **factors: float) -> Coefficients:
    values = {name: replace(one, value=one.value * factors.get(name, 1.0)) for name, one in base.values.items()}
    return replace(base, values=values)


def trials() -> list[Measurement]:
    """On the card, on the CPU, and on both."""
    found = []
    for shape in (FEW, MANY, DENSE):
        found += [made(shape=shape, attention=one, experts=one) for one in ("cpu", "gpu:a")]
    found += [made(shape=shape, attention="gpu:a") for shape in (FEW, MANY)]
    found += [made(shape=CACHE, attention="gpu:a", experts="gpu:a", depth=depth) for depth in (0, 16384)]
    return found


def test_the_constants_of_a_made_up_machine_are_found_again() -> None:
    machine, base = desktop(), shipped_coefficients()
    true = changed(base, cpu_weights=1.35, crossing=1.8, crossing_width=1.8)
    result = fitted(machine, Engine(), base, [as_if(machine, true, one) for one in trials()])
    assert result.coefficients["cpu_weights"] == pytest.approx(true["cpu_weights"], rel=0.1)
    assert "cpu_weights" in result.identified
    for held in result.held:
        assert held.predicted_ms == pytest.approx(held.measured_ms, rel=0.12), held.name
    assert result.identified["cpu_weights"].basis == "calibrated"


def test_a_model_that_was_not_measured_is_predicted_better() -> None:
    machine, base = desktop(), shipped_coefficients()
    true = changed(base, **(dict.fromkeys(base.values, 1.3) | {"gpu_weights": 1.5, "cpu_weights": 0.9}))
    result = fitted(machine, Engine(), base, [as_if(machine, true, one) for one in trials()])
    other = as_if(machine, true, made(shape=Slice("qwen3-30b-a3b", 6, 32, 8192).shape(), attention="gpu:a"))
    errors = []
    for of in (base, result.coefficients):
        trial = trial_of(machine, Engine(), of, other)
        assert trial is not None
        ms = sum(cost.quantity * of[cost.coefficient] for cost in trial.costs)
        errors.append(abs(ms / other.ms_per_token - 1))
    assert errors[1] < errors[0] / 2


def test_what_no_device_here_made_is_left_out_by_name() -> None:
    machine: Machine = desktop()
    elsewhere = made(attention="remote:10.0.0.1:50052", experts="cpu")
    here = as_if(machine, shipped_coefficients(), made(shape=MANY))
    result = fitted(machine, Engine(), shipped_coefficients(), [elsewhere, here])
    assert result.left_out == (elsewhere.name,)
    assert [held.name for held in result.held] == [here.name]


def test_every_constant_is_identified_or_refused_with_a_reason() -> None:
    machine, base = desktop(), shipped_coefficients()
    result = fitted(machine, Engine(), base, [as_if(machine, base, one) for one in trials()])
    assert set(result.identified) | set(result.refused) == set(base.values)
    assert not set(result.identified) & set(result.refused)
    assert all(result.refused.values())
    assert result.refused["rpc_call"] == "no measurement uses it"


def test_prefill_does_not_change_what_decode_fixed() -> None:
    machine, base = desktop(), shipped_coefficients()
    decode = [as_if(machine, base, made(shape=shape)) for shape in (FEW, MANY, DENSE)]
    prefill = [
        as_if(machine, base, made(shape=shape, phase="prefill", tokens=512), error=2.0) for shape in (FEW, DENSE)
    ]
    alone, both = (fitted(machine, Engine(), base, some) for some in (decode, decode + prefill))
    for name in alone.identified:
        assert both.coefficients[name] == pytest.approx(alone.coefficients[name], rel=0.02)
    assert both.coefficients["prefill_cpu_experts"] > 1.3 * base["prefill_cpu_experts"]
