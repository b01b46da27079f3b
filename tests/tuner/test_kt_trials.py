"""KTransformers' kernels as trials: real ones where kt-kernel is installed, a reason where it is not."""

from __future__ import annotations

import pytest

from app.hardware.coefficients import shipped_coefficients
from app.models.catalog import find_spec
from app.runtimes import kt_kernels
from app.runtimes.kt_kernels import KtLayer
from app.solver.plan import Placement
from app.solver.scene import Engine
from app.tuner.evidence import fitted, trial_of
from app.tuner.kt_trials import layer_parameters, layer_shape, time_kernels
from app.tuner.measurement import Measurement
from app.tuner.session import Skipped
from tests.solver.machines import desktop
from tests.tuner.making import as_if


def test_without_kt_kernel_one_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tuner.kt_trials.find_python", lambda: None)
    assert list(time_kernels(find_spec("qwen3-30b-a3b"), 1)) == [
        Skipped("kt-kernel", "n/a: kt-kernel is not installed")
    ]


@pytest.mark.skipif(kt_kernels.find_python() is None, reason="kt-kernel is not installed")
def test_a_dense_model_has_nothing_to_time() -> None:
    (event,) = time_kernels(find_spec("qwen3-4b"), 1)
    assert isinstance(event, Skipped)
    assert "has no experts" in event.why


@pytest.mark.skipif(kt_kernels.find_python() is None, reason="kt-kernel is not installed")
def test_the_real_kernels_become_measurements_of_one_layer() -> None:
    events = list(time_kernels(find_spec("olmoe-1b-7b"), 1))
    found = [event for event in events if isinstance(event, Measurement)]
    assert {one.phase for one in found} == {"decode", "prefill"}
    assert {one.parameters.kt.method for one in found if one.parameters.kt} == {"AMXINT4", "AMXINT8", "BF16"}
    assert all(one.layer_only for one in found)


def test_such_a_trial_is_about_the_experts_alone() -> None:
    machine, base = desktop(), shipped_coefficients()
    layer = KtLayer("AMXINT8", 32, 8, 2048, 768, 8)
    one = Measurement(
        "kt", layer_shape(layer), placement=Placement.on("cpu", ("cpu",)),
        parameters=layer_parameters(layer, 32), phase="decode",
        tokens=32, depth=0, samples_ms=(4.0, 4.1), layer_only=True,
    )  # fmt: skip
    trial = trial_of(machine, Engine(), base, one)
    assert trial is not None
    assert {cost.part for cost in trial.costs} == {"experts"}
    assert trial.kind == ""
    result = fitted(machine, Engine(), base, [as_if(machine, base, one, error=1.4)])
    (name,) = result.identified
    assert name in ("kt_weights", "cpu_flops")
