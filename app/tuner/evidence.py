"""What measurements tell of the constants: each is held against its own costs, and all are fitted together. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.solver.calibration import CalibrationResult, Trial, calibrated
from app.solver.coefficients import Coefficient, Coefficients
from app.solver.decode import decode_costs
from app.solver.model import ModelShape
from app.solver.prediction import placement_class
from app.solver.prefill import prefill_costs
from app.solver.ram import with_ram_bandwidth
from app.solver.scene import Cost, Engine, Scene
from app.tuner.measurement import Measurement
from detectors.facts import Machine

RESIDUAL_SPREAD = 0.08
"""How far (logarithm) a right model is from trials of several models and quantizations on one quiet machine."""
ROUNDS = 3
"""A cost that is the larger of two may become the other one with other constants; it settles at once or soon."""


@dataclass(frozen=True, slots=True)
class Held:
    """A measurement beside what the calibrated constants say."""

    name: str
    measured_ms: float
    predicted_ms: float


@dataclass(frozen=True, slots=True)
class Fitted:
    """The constants of this machine and what they rest on."""

    coefficients: Coefficients
    identified: Mapping[str, Coefficient]
    refused: Mapping[str, str]
    multiplier: float
    """Of decoding: above 1 on a machine that is slower than the shipped constants say."""
    held: tuple[Held, ...]
    left_out: tuple[str, ...]
    """Measurements whose devices are not there."""


def fitted(machine: Machine, engine: Engine, base: Coefficients, measurements: Sequence[Measurement]) -> Fitted:
    """Fit the constants: decode first, then prefill from there.

    Args:
        machine: with its present devices, remote ones included.
        engine: what computed.
        base: the constants that ship.
        measurements: in any order.
    """
    machine = with_ram_bandwidth(machine)
    coefficients, results = base, []
    for phase in ("decode", "prefill"):
        own = [measurement for measurement in measurements if measurement.phase == phase]
        result = _phase(machine, engine, coefficients, own)
        coefficients = result.coefficients
        results.append(result)
    identified = {name: one for result in results for name, one in result.identified.items()}
    refused = {
        name: next((result.refused[name] for result in results if _says_more(result, name)), results[0].refused[name])
        for name in base.values
        if name not in identified
    }
    held, left_out = [], []
    for measurement in measurements:
        trial = trial_of(machine, engine, coefficients, measurement)
        if trial is None:
            left_out.append(measurement.name)
        else:
            held.append(Held(measurement.name, measurement.ms_per_token, _ms(trial.costs, coefficients)))
    return Fitted(coefficients, identified, refused, results[0].multiplier, tuple(held), tuple(left_out))


def _phase(
    machine: Machine, engine: Engine, base: Coefficients, measurements: Sequence[Measurement]
) -> CalibrationResult:
    at_present, result = base, calibrated(base, [])
    for _ in range(ROUNDS):
        trials = [trial_of(machine, engine, at_present, measurement) for measurement in measurements]
        found = [trial for trial in trials if trial is not None]
        result = calibrated(base, found, residual_spread=RESIDUAL_SPREAD)
        at_present = result.coefficients
    return result


def _says_more(result: CalibrationResult, name: str) -> bool:
    """Whether this fit had the constant in its trials: its reason is the telling one."""
    return (
        name in result.refused
        and "no measurement" not in result.refused[name]
        and "nothing" not in result.refused[name]
    )


def trial_of(machine: Machine, engine: Engine, coefficients: Coefficients, measurement: Measurement) -> Trial | None:
    """A measurement as the fit takes it; `None` where a device or a constant of it is not there."""
    shape = measurement.shape if measurement.phase == "decode" else prompt_shape(measurement)
    scene = Scene(machine, shape, coefficients, engine)
    placement, parameters = measurement.placement, measurement.parameters
    try:
        if measurement.phase == "decode":
            context = measurement.depth + measurement.tokens // 2
            costs = decode_costs(scene, placement, parameters, context=context)
        else:
            costs = prefill_costs(
                scene, placement, parameters, prompt_tokens=measurement.tokens, depth=measurement.depth
            )
        kind = f"{measurement.phase}.{placement_class(scene, placement)}"
        if measurement.layer_only:
            costs, kind = [cost for cost in costs if cost.part == "experts"], ""
        if _ms(costs, coefficients) <= 0:
            return None
    except KeyError:
        return None
    return Trial(costs, measurement.ms_per_token, kind, measurement.noise)


def prompt_shape(measurement: Measurement) -> ModelShape:
    """What a prompt computes of a model: llama.cpp runs the last layer's network for the last token alone.

    That is nothing of a whole model's time, and half of a slice's.
    """
    shape = measurement.shape
    if measurement.layer_only or not shape.layers:
        return shape
    last = shape.layers[-1]
    kept = (last.attention_bytes + last.norm_bytes) / last.resident_bytes if last.resident_bytes else 1.0
    without = replace(
        last,
        router_bytes=0,
        shared_bytes=0,
        dense_bytes=0,
        expert_bytes=0,
        expert_weights=0,
        resident_weights=round(last.resident_weights * kept),
    )
    return replace(shape, layers=(*shape.layers[:-1], without))


def _ms(costs: Sequence[Cost], coefficients: Coefficients) -> float:
    return math.fsum(cost.quantity * coefficients[cost.coefficient] for cost in costs)
