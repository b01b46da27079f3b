"""How a plan's speed changes with what a person may choose: context, sequences at once, ubatch."""

from __future__ import annotations

from dataclasses import replace

from app.solver.model import Workload
from app.solver.options import DEFAULT_BATCH, UBATCHES
from app.solver.plan import CurvePoint, Curves, Parameters, Placement
from app.solver.prediction import decode_speed, placement_class
from app.solver.prefill import prefill_ms
from app.solver.scene import Scene

POINTS = 9
"""Of the curve over context."""

SEQUENCES = (1, 2, 3, 4, 6, 8, 12, 16)


def curves(scene: Scene, placement: Placement, parameters: Parameters, workload: Workload) -> Curves:
    """All curves of a placement with its parameters, as they are.

    Args:
        scene: model, machine, constants.
        placement: what is where.
        parameters: KV type, ubatch, threads.
        workload: the prompt, and the depth at which sequences are compared.
    """
    longest = max(workload.context, scene.shape.context_length)
    depths = [round(longest * index / (POINTS - 1)) for index in range(POINTS)]
    prompt = min(workload.prompt_tokens, workload.context)
    sizes = sorted({*UBATCHES, parameters.ubatch})
    batches = [replace(parameters, ubatch=size, batch=max(DEFAULT_BATCH, size)) for size in sizes]
    return Curves(
        tuple(decode_point(scene, placement, parameters, depth, context=depth) for depth in depths),
        tuple(
            decode_point(scene, placement, parameters, count, context=workload.mean_context, batch=count)
            for count in SEQUENCES
        ),
        tuple(prefill_point(scene, placement, one, max(prompt, one.ubatch)) for one in batches),
    )


def decode_point(
    scene: Scene, placement: Placement, parameters: Parameters, at: int, *, context: int, batch: int = 1
) -> CurvePoint:
    """Decode speed and its range, without the terms that a prediction has."""
    low, high = scene.coefficients.ranges[f"decode.{placement_class(scene, placement)}"]
    speed = decode_speed(scene, placement, parameters, context=context, batch=batch)
    return CurvePoint(at, speed, speed * low, speed * high)


def prefill_point(scene: Scene, placement: Placement, parameters: Parameters, prompt_tokens: int) -> CurvePoint:
    """Speed of a prompt and its range, at the ubatch of the parameters."""
    ranges = scene.coefficients.ranges
    low, high = ranges.get(f"prefill.{placement_class(scene, placement)}", ranges["prefill.hybrid"])
    speed = 1000.0 / prefill_ms(scene, placement, parameters, prompt_tokens=prompt_tokens)
    return CurvePoint(parameters.ubatch, speed, speed * low, speed * high)
