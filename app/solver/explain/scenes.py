"""What a plan's numbers were reckoned with: KTransformers computes with other weights than the file's."""

from __future__ import annotations

from dataclasses import replace

from app.solver.kt_memory import converted
from app.solver.kt_methods import METHODS, Method
from app.solver.ktransformers import RUNTIME
from app.solver.plan import Plan
from app.solver.ram import with_ram_bandwidth
from app.solver.scene import Engine, Scene


def scene_of_plan(scene: Scene, plan: Plan) -> Scene:
    """The scene as the solver saw it when it made this plan.

    Args:
        scene: model, machine and constants that the solver was asked with.
        plan: what it answered.
    """
    scene = replace(scene, machine=with_ram_bandwidth(scene.machine))
    method = method_of(plan)
    if method is None:
        return scene
    return replace(scene, shape=converted(scene.shape, method), engine=Engine(RUNTIME, "cuda"))


def method_of(plan: Plan) -> Method | None:
    """KTransformers' method of computing experts; `None`: the plan is for llama.cpp."""
    kt = plan.parameters.kt
    return None if kt is None else next(method for method in METHODS if method.name == kt.method)
