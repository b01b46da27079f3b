"""The board: many models on one machine, each with what it would come to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.hardware.coefficients import shipped_coefficients
from app.solver.coefficients import Coefficients
from app.solver.curves import decode_point, prefill_point
from app.solver.explain import placement_text
from app.solver.model import ModelShape, Policy, Workload
from app.solver.placement import Candidate
from app.solver.plan import CurvePoint
from app.solver.remedies import closest_shortfall
from app.solver.scene import Scene
from app.solver.search import Search
from detectors.facts import Machine


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One model on the machine."""

    model: str
    """Its id or its path: what `moetune plan` takes."""
    name: str
    quantization: str
    file_bytes: int
    fits: bool
    missing_bytes: int = 0
    """What the closest placement lacks where it does not fit."""
    placement: str = ""
    decode: CurvePoint | None = None
    """Tokens per second of one sequence at the workload's depth, with its range; `at` is the depth."""
    prefill: CurvePoint | None = None
    """Tokens per second of the workload's prompt; `at` is the ubatch."""
    longest_context: int = 0
    """Tokens that this placement holds at the workload's floor of speed; 0: it is below the floor from the start."""


def board(
    machine: Machine,
    models: Iterable[tuple[str, ModelShape]],
    workload: Workload,
    policy: Policy,
    coefficients: Coefficients | None = None,
) -> tuple[BoardRow, ...]:
    """A row for each model, in the order given.

    Args:
        machine: where they are to run.
        models: id and shape of each.
        workload: context, prompt and answer that they are compared for.
        policy: what the person decided.
        coefficients: constants of the speed model; `None`: those that ship.
    """
    known = coefficients or shipped_coefficients()
    return tuple(_row(model, Scene(machine, shape, known), workload, policy) for model, shape in models)


def _row(model: str, scene: Scene, workload: Workload, policy: Policy) -> BoardRow:
    shape = scene.shape
    search = Search(scene, workload, policy)
    outcome = search.outcome()
    if outcome is None:
        missing = closest_shortfall(search.scene, workload, policy).missing_bytes
        return BoardRow(model, shape.name, shape.quantization, shape.file_bytes, fits=False, missing_bytes=missing)
    return _fitting(model, search, outcome.chosen)


def _fitting(model: str, search: Search, chosen: Candidate) -> BoardRow:
    scene, workload, shape = search.scene, search.workload, search.scene.shape
    placement, parameters = chosen.placement, chosen.parameters
    depth = workload.mean_context
    return BoardRow(
        model,
        shape.name,
        shape.quantization,
        shape.file_bytes,
        fits=True,
        placement=placement_text(scene.machine, placement, shape),
        decode=decode_point(scene, placement, parameters, depth, context=depth),
        prefill=prefill_point(scene, placement, parameters, min(workload.prompt_tokens, workload.context)),
        longest_context=search.longest(chosen)[0],
    )
