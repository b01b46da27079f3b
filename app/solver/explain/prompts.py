"""What decides a prompt's speed where experts are in host memory: whether they are copied to the GPU, and how often."""

from __future__ import annotations

from dataclasses import replace

from app.solver.plan import Plan
from app.solver.prefill import streaming_crossover, streaming_saturation
from app.solver.scene import Scene


def crossover_text(scene: Scene, plan: Plan) -> str:
    """At which ubatch copying experts to the GPU starts to pay, in a sentence; empty where none could be copied."""
    # What a repacked plan would do is asked of the plain layout: only that is copied.
    placement, parameters = plan.placement, replace(plan.parameters, no_host=False)
    on_host = any(
        owner == "cpu" != attention for owner, attention in zip(placement.experts, placement.attention, strict=True)
    )
    gpus = [d for d in map(scene.machine.device, placement.attention_devices) if d.kind in ("igpu", "dgpu")]
    if not on_host or not gpus or parameters.kt is not None:
        return ""
    name = scene.machine.label(gpus[0].id)
    crossover = streaming_crossover(scene, placement, parameters)
    if crossover is None:
        return f"Copying the CPU's experts to the {name} for a prompt pays at no ubatch: the CPU is the faster way."
    text = f"From a ubatch of {crossover} on, copying the CPU's experts to the {name} beats computing them on the CPU"
    saturation = streaming_saturation(scene, placement, parameters)
    if saturation is None:
        return f"{text}; the copy stays the largest cost at every ubatch."
    if saturation <= crossover:
        return f"{text}."
    return f"{text}; from {saturation} on the copy is less than half of a prompt's time."
