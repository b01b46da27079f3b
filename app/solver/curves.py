"""How a plan's speed changes with what a person may choose: context, sequences at once, ubatch."""

from __future__ import annotations

from dataclasses import replace

from app.solver.model import Workload
from app.solver.options import DEFAULT_BATCH, UBATCHES
from app.solver.plan import CurvePoint, Curves, Parameters, Placement, Prediction
from app.solver.prediction import predict_decode, predict_prefill
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
    return Curves(
        decode_by_context=tuple(
            _point(depth, predict_decode(scene, placement, parameters, context=depth)) for depth in depths
        ),
        decode_by_batch=tuple(
            _point(
                batch, predict_decode(scene, placement, parameters, context=workload.mean_context, batch=batch)
            )
            for batch in SEQUENCES
        ),
        prefill_by_ubatch=tuple(
            _point(
                ubatch,
                predict_prefill(
                    scene,
                    placement,
                    replace(parameters, ubatch=ubatch, batch=max(DEFAULT_BATCH, ubatch)),
                    prompt_tokens=max(prompt, ubatch),
                ),
            )
            for ubatch in sorted({*UBATCHES, parameters.ubatch})
        ),
    )  # fmt: skip


def _point(at: int, prediction: Prediction) -> CurvePoint:
    return CurvePoint(at, prediction.tokens_per_s, prediction.low, prediction.high)
