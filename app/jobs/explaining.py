"""The report of a plan: the plan itself, what it takes, what limits it, and how every number came about."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from app.jobs.planning import PlannedRun, PlanRequest
from app.runtimes.base import Command, Engine
from app.solver.coefficients import Coefficient
from app.solver.explain import placement_text
from app.solver.explain.bottleneck import Move, Share, moves, shares
from app.solver.explain.derivation import Derivation
from app.solver.explain.pools import PoolUse, pool_uses
from app.solver.explain.prompts import crossover_text
from app.solver.explain.questions import derivations
from app.solver.explain.scenes import scene_of_plan
from app.solver.model import ModelShape
from app.solver.plan import Plan, Prediction, Term
from app.solver.prediction import predict_decode
from app.solver.scene import Scene
from detectors.facts import Machine

SCHEMA = "moetune.plan/1"


@dataclass(frozen=True, slots=True)
class PlanReport:
    """What `moetune plan` answers with."""

    schema: str
    """`moetune.plan/1`: the number rises when a field changes its meaning or goes."""
    request: PlanRequest
    machine: Machine
    shape: ModelShape
    """With the weights that the runtime computes with."""
    engine: Engine
    plan: Plan
    placement: str
    """The placement in words."""
    decode_full: Prediction
    """Decode of one sequence at the end of its context."""
    pools: tuple[PoolUse, ...]
    limits: tuple[Share, ...]
    """What a token's time goes to, by resource, the largest first: the first is the bottleneck."""
    moves: tuple[Move, ...]
    """What single changes would gain, the most first."""
    crossover: str
    """When copying experts to the GPU pays for prompts; empty where there are none to copy."""
    derivations: tuple[Derivation, ...]
    constants: dict[str, Coefficient]
    """Those that the terms name."""
    command: Command
    command_line: str
    """The command as a shell takes it."""
    engine_checked: bool
    """Whether the engine itself was asked for the memory of this plan."""
    launchable: bool


def report_of(planned: PlannedRun) -> PlanReport:
    """All that can be said about a plan. The solver is asked again for what would move it: some 0.1 s."""
    asked, plan = _asked(planned), planned.plan
    scene = scene_of_plan(asked, plan)
    return PlanReport(
        schema=SCHEMA,
        request=planned.request,
        machine=planned.machine,
        shape=scene.shape,
        engine=planned.engine,
        plan=plan,
        placement=placement_text(planned.machine, plan.placement, planned.shape),
        decode_full=predict_decode(scene, plan.placement, plan.parameters, context=plan.workload.context),
        pools=pool_uses(planned.machine, plan.memory),
        limits=shares(scene, plan.decode),
        moves=moves(asked, plan, planned.policy),
        crossover=crossover_text(scene, plan),
        derivations=derivations(scene, plan),
        constants=_constants(scene, plan),
        command=planned.command,
        command_line=command_line(planned.command),
        engine_checked=planned.engine_checked,
        launchable=planned.launchable,
    )


def scene_of(planned: PlannedRun) -> Scene:
    """What the plan's numbers were reckoned with."""
    return scene_of_plan(_asked(planned), planned.plan)


def _asked(planned: PlannedRun) -> Scene:
    return Scene(planned.machine, planned.shape, planned.coefficients, planned.speed_engine)


def command_words(command: Command) -> list[str]:
    """The command word by word, each quoted for a shell."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in command.env.items()]
    unset = [part for name in command.unset for part in ("-u", name)]
    prefix = ["env", *unset, *settings] if unset or settings else []
    return [*prefix, *(shlex.quote(word) for word in command.argv)]


def command_line(command: Command) -> str:
    """The command as one could paste it into a shell."""
    return " ".join(command_words(command))


def _constants(scene: Scene, plan: Plan) -> dict[str, Coefficient]:
    named = {term.coefficient for term in _terms(plan) if term.coefficient}
    return {name: scene.coefficients.values[name] for name in sorted(named)}


def _terms(plan: Plan) -> Iterator[Term]:
    for prediction in (plan.decode, plan.prefill):
        for term in prediction.terms if prediction is not None else ():
            yield from term.parts or (term,)
