"""From costs to a speed with its range, and the terms it is made of."""

from __future__ import annotations

from app.solver.decode import decode_costs
from app.solver.defects import defects_of
from app.solver.explain import terms_of, worst_basis
from app.solver.plan import Parameters, Placement, Prediction
from app.solver.prefill import prefill_costs, tokens_together
from app.solver.scene import Scene, total_ms


def placement_class(scene: Scene, placement: Placement) -> str:
    """Which row of the range table a placement belongs to."""
    used = [scene.machine.device(device) for device in placement.devices]
    kinds = {device.kind for device in used}
    if scene.engine.runtime == "ktransformers" and "cpu" in kinds:
        return "ktransformers"
    if any(device.bandwidth_gbps is None for device in used):
        return "remote" if "remote" in kinds else "unknown bandwidth"
    if "remote" in kinds:
        return "remote"
    if kinds == {"cpu"}:
        return "cpu"
    if kinds == {"igpu"}:
        return "unified"
    if "igpu" in kinds:
        return "igpu experts"
    return "hybrid" if "cpu" in kinds and scene.shape.is_moe else "gpu"


def decode_speed(scene: Scene, placement: Placement, parameters: Parameters, *, context: int, batch: int = 1) -> float:
    """Tokens per second of all sequences together, without its terms."""
    costs = decode_costs(scene, placement, parameters, context=context, batch=batch)
    return 1000.0 * batch / total_ms(costs, scene.coefficients)


def predict_decode(
    scene: Scene, placement: Placement, parameters: Parameters, *, context: int, batch: int = 1
) -> Prediction:
    """Decode speed at that depth, with its range and its breakdown.

    Args:
        scene: model, machine, constants.
        placement: what is where.
        parameters: KV type, threads.
        context: tokens in the cache of each sequence.
        batch: sequences decoded together; the speed is of all of them.
    """
    costs = decode_costs(scene, placement, parameters, context=context, batch=batch)
    terms = terms_of(scene, placement, parameters, costs, context=context, batch=batch)
    speed = 1000.0 * batch / total_ms(costs, scene.coefficients)
    low, high = _decode_range(scene, placement, parameters)
    weakest = worst_basis(*(term.basis for term in terms))
    return Prediction(speed, speed * low, speed * high, weakest, context, terms, batch)


def _decode_range(scene: Scene, placement: Placement, parameters: Parameters) -> tuple[float, float]:
    """Measured over predicted speed, 90 %: by the kind of placement, wider where a known defect is reckoned with."""
    ranges = scene.coefficients.ranges
    low, high = ranges[f"decode.{placement_class(scene, placement)}"]
    wide = ranges.get("decode.known defect")
    if wide is None or not defects_of(scene, placement, parameters):
        return low, high
    return min(low, wide[0]), max(high, wide[1])


def predict_prefill(
    scene: Scene, placement: Placement, parameters: Parameters, *, prompt_tokens: int, depth: int = 0
) -> Prediction:
    """Speed of a prompt as its mean, with its range and its breakdown.

    Args:
        scene: model, machine, constants.
        placement: what is where.
        parameters: ubatch, threads, KV type, op-offload.
        prompt_tokens: length of the prompt.
        depth: tokens that are in the cache before it.
    """
    costs = prefill_costs(scene, placement, parameters, prompt_tokens=prompt_tokens, depth=depth)
    terms = terms_of(scene, placement, parameters, costs, context=depth + prompt_tokens, batch=1)
    speed = 1000.0 / total_ms(costs, scene.coefficients)
    ranges = scene.coefficients.ranges
    low, high = ranges.get(f"prefill.{placement_class(scene, placement)}", ranges["prefill.hybrid"])
    weakest = worst_basis(*(term.basis for term in terms))
    together = round(tokens_together(parameters, prompt_tokens))
    return Prediction(speed, speed * low, speed * high, weakest, depth + prompt_tokens, terms, together)
