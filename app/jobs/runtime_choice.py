"""llama.cpp or KTransformers: whichever does the work sooner, the other as a runner-up."""

from __future__ import annotations

from dataclasses import replace

from app.errors import NoFitError
from app.runtimes.ktransformers.command import is_installed
from app.solver.alternatives import timed
from app.solver.explain import placement_text
from app.solver.kt_memory import converted
from app.solver.kt_methods import METHODS
from app.solver.ktransformers import RUNTIME, solve_ktransformers
from app.solver.model import Policy, Workload
from app.solver.objectives import work_of
from app.solver.plan import Alternative, Plan
from app.solver.ram import with_ram_bandwidth
from app.solver.scene import Engine, Scene
from app.solver.search import solve

LLAMA = "llama.cpp"


def runtimes_for(asked: tuple[str, ...] | None, *, elsewhere: bool) -> tuple[str, ...]:
    """The runtimes that a plan may be for.

    Args:
        asked: what the person allows; `None`: all that could run it.
        elsewhere: the machine is a captured or described one, where anything may be installed.
    """
    if asked is not None:
        return asked
    return (LLAMA, RUNTIME) if elsewhere or is_installed() else (LLAMA,)


def solve_for(scene: Scene, workload: Workload, policy: Policy, *, model_path: str) -> Plan:
    """The best plan of all runtimes that the policy allows; another one is named with what it would gain.

    Raises:
        NoFitError: no allowed runtime has a plan that fits.
    """
    scene = replace(scene, machine=with_ram_bandwidth(scene.machine))
    answers: dict[str, Plan | NoFitError] = {}
    for name, solver in ((LLAMA, solve), (RUNTIME, solve_ktransformers)):
        if name == RUNTIME and not _worth_asking(scene, policy):
            continue
        try:
            answers[name] = solver(scene, workload, policy, model_path=model_path)
        except NoFitError as error:
            answers[name] = error
    allowed = [answers[name] for name in policy.runtimes if name in answers]
    plans = [answer for answer in allowed if isinstance(answer, Plan)]
    if not plans:
        raise next(answer for answer in allowed if isinstance(answer, NoFitError))
    best = min(plans, key=lambda plan: _seconds(scene, workload, plan))
    others = [
        _alternative(scene, workload, best, name, answer, policy)
        for name, answer in answers.items()
        if name != best.runtime
    ]
    return replace(best, alternatives=(*others, *best.alternatives))


def _worth_asking(scene: Scene, policy: Policy) -> bool:
    """Whether KTransformers is a question at all: asked for, or with an NVIDIA card and a model that is not dense."""
    if policy.runtimes == (RUNTIME,):
        return True
    cards = any(device.vendor.upper().startswith("NVIDIA") for device in scene.machine.devices)
    return cards and scene.shape.is_moe


def _seconds(scene: Scene, workload: Workload, plan: Plan) -> float:
    """Of the work, at the depth that placements are judged at."""
    return timed(_scene_of(scene, plan), work_of(workload), plan.placement, plan.parameters)[2]


def _scene_of(scene: Scene, plan: Plan) -> Scene:
    kt = plan.parameters.kt
    if kt is None:
        return scene
    method = next(method for method in METHODS if method.name == kt.method)
    return replace(scene, shape=converted(scene.shape, method), engine=Engine(RUNTIME, "cuda"))


def _alternative(
    scene: Scene, workload: Workload, best: Plan, name: str, answer: Plan | NoFitError, policy: Policy
) -> Alternative:
    title = "KTransformers" if name == RUNTIME else name
    if isinstance(answer, NoFitError):
        return Alternative(title, None, answer.message)
    change = 100 * (_seconds(scene, workload, best) / _seconds(scene, workload, answer) - 1)
    kt = answer.parameters.kt
    label = f"{title}{f' ({kt.method})' if kt else ''}: {placement_text(scene.machine, answer.placement, scene.shape)}"
    why = f"{change:+.0f} %" if abs(change) >= 3 else f"as fast within what can be predicted ({change:+.0f} %)"
    if name not in policy.runtimes:
        why += ", not installed here" if name == RUNTIME and not is_installed() else ", not allowed"
    return Alternative(label, answer.decode.tokens_per_s, why, turn_s=answer.turn_s)
