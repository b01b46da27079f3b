"""Every scenario preset on one machine: whether it fits, how fast it would be, whether its model is here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.errors import NoFitError
from app.jobs.checking import known_machine
from app.jobs.model_weights import find_weights, size_of
from app.jobs.planning import PlanRequest, make_plan
from app.jobs.scenarios import Scenario, find_scenario, scenario_names
from app.solver.explain import placement_text
from app.solver.model import Workload
from app.solver.plan import Prediction
from detectors.facts import Machine


@dataclass(frozen=True, slots=True)
class PresetRow:
    """One preset on one machine."""

    preset: str
    name: str
    why: str
    machine: str
    """Whom it is for."""
    model: str
    quantization: str
    runtimes: tuple[str, ...]
    workload: Workload
    size_bytes: int
    """Of its weights on disk."""
    size_published: bool
    """Not reckoned from the shape."""
    repository: str | None
    path: str | None
    """Where its weights are here; `None`: nowhere that was searched."""
    fits: bool
    why_not: str = ""
    placement: str = ""
    decode: Prediction | None = None
    prefill: Prediction | None = None


def request_of(scenario: Scenario, capture: str | None) -> PlanRequest:
    """What the preset asks of the planner, for a machine that is described rather than asked."""
    policy = scenario.policy
    return PlanRequest(
        model=scenario.model_words,
        workload=scenario.workload,
        devices=policy.devices,
        kv_type=policy.kv_type,
        ubatch=policy.ubatch,
        runtimes=policy.runtimes,
        kt_method=policy.kt_method,
        capture=capture or "this machine",
    )


def preset_rows(capture: str | None = None, names: Iterable[str] | None = None) -> tuple[PresetRow, ...]:
    """A row for each preset, with the newest engines and constants from published measurements.

    Args:
        capture: a captured machine in place of this one.
        names: which presets; `None`: all.

    Raises:
        MoetuneError: the machine or a preset cannot be read.
    """
    machine = known_machine(capture)
    scenarios = (find_scenario(f"preset:{name}") for name in (scenario_names() if names is None else names))
    return tuple(_row(scenario, machine, capture) for scenario in scenarios if scenario is not None)


def _row(scenario: Scenario, machine: Machine, capture: str | None) -> PresetRow:
    size, published = size_of(scenario)
    found = find_weights(scenario) if capture is None else None
    facts = {
        "preset": scenario.id,
        "name": scenario.name,
        "why": scenario.why,
        "machine": scenario.machine,
        "model": scenario.model,
        "quantization": scenario.quantization,
        "runtimes": scenario.policy.runtimes,
        "workload": scenario.workload,
        "size_bytes": size,
        "size_published": published,
        "repository": scenario.weights.repository or None,
        "path": str(found.path) if found and found.path and not found.missing else None,
    }
    try:
        planned = make_plan(request_of(scenario, capture), machine)
    except NoFitError as error:
        return PresetRow(**facts, fits=False, why_not=error.message)  # type: ignore[arg-type]
    plan = planned.plan
    placed = placement_text(planned.machine, plan.placement, planned.shape)
    return PresetRow(**facts, fits=True, placement=placed, decode=plan.decode, prefill=plan.prefill)  # type: ignore[arg-type]
