"""A plan in words: what was placed where, why the others lost, what a person should know about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.solver.model import ModelShape, Workload
from app.solver.plan import Alternative, Placement, Prediction, Term
from app.solver.scene import Cost, Scene
from app.units import bytes_text, rate_text
from detectors.facts import Basis, Machine

if TYPE_CHECKING:
    from app.solver.placement import Shortfall


def placement_text(machine: Machine, placement: Placement, shape: ModelShape) -> str:
    """`all on A`, or `attention on A, experts: 12 layers A, 24 layers B`."""
    name = machine.device(placement.head).label
    parts = []
    for device_id in placement.devices:
        layers = [i for i in placement.expert_layers(device_id) if shape.layers[i].expert_bytes]
        if layers:
            parts.append(f"{len(layers)} on {machine.device(device_id).label}")
    if not parts or placement.devices == (placement.head,):
        return f"all on {name}"
    moe_layers = sum(1 for layer in shape.layers if layer.expert_bytes)
    if len(parts) == 1:
        return f"attention on {name}, all {moe_layers} layers' experts {parts[0].removeprefix(f'{moe_layers} ')}"
    return f"attention on {name}, layers of experts: {', '.join(parts)}"


def alternatives(
    machine: Machine,
    shape: ModelShape,
    best: Prediction,
    chosen: Placement,
    scored: Sequence[tuple[Prediction, Placement]],
    failing: Sequence[Shortfall],
) -> tuple[Alternative, ...]:
    """The placements that lost, fastest first, each with its reason; those that do not fit come last."""
    found = []
    for prediction, placement in sorted(scored, key=lambda pair: -pair[0].tokens_per_s):
        if placement == chosen:
            continue
        change = 100 * (prediction.tokens_per_s / best.tokens_per_s - 1)
        dearest = max(prediction.terms, key=lambda term: term.value)
        if change >= 0:
            why = f"as fast within what can be predicted ({change:+.0f} %)"
            if len(placement.devices) > len(chosen.devices):
                why += ", but on more devices"
        else:
            why = f"{change:+.0f} %: {dearest.name} takes {dearest.value:.1f} of {prediction.ms_per_token:.1f} ms"
        found.append(Alternative(placement_text(machine, placement, shape), prediction.tokens_per_s, why))
    for lack in failing:
        label = placement_text(machine, lack.placement, shape)
        why = f"does not fit {lack.device.label}: {bytes_text(lack.missing_bytes)} too little"
        if all(alternative.label != label for alternative in found):
            found.append(Alternative(label, None, why))
    return tuple(found)


def notes(machine: Machine, shape: ModelShape, placement: Placement, workload: Workload) -> tuple[str, ...]:
    """What a person should know about this plan, one sentence each."""
    found = []
    if workload.context > shape.context_length > 0:
        found.append(
            f"The context of {workload.context} tokens is beyond the {shape.context_length} the model was trained for."
        )
    gpus = [device for device in machine.devices if device.kind in ("igpu", "dgpu")]
    if not shape.is_moe:
        found.append("The model is dense: there are no experts to place.")
        if gpus and machine.device(placement.head).kind == "cpu":
            names = " or ".join(gpu.label for gpu in gpus)
            found.append(
                f"It does not fit {names} as a whole, and layers of a dense model are not divided between devices here:"
                " llama.cpp's own --fit may place it better."
            )
    elif len(placement.devices) == 1 and len(machine.devices) > 1:
        name = machine.device(placement.head).label
        found.append(f"One device is enough: {name} holds it all, and the splits that fit are no faster.")
    return tuple(found)


_WORDS = {
    "attention": ("attention", "weights of every layer"),
    "head": ("output head", "weights of the output head"),
    "experts": ("experts", "routed experts that one step touches"),
    "kv": ("KV cache", "cache"),
    "layers": ("layers", "what a layer costs whatever its size"),
    "crossing": ("crossing to", "layers go there and come back"),
    "RPC": ("RPC", "inputs, graph and logits of each step"),
}


def terms_of(
    scene: Scene, placement: Placement, costs: Sequence[Cost], *, context: int, batch: int
) -> tuple[Term, ...]:
    """Costs as terms in words, milliseconds per token, largest first; costs of one part and device are one term."""
    found: dict[tuple[str, str], list[Cost]] = {}
    for cost in costs:
        found.setdefault((cost.part, cost.device), []).append(cost)
    terms = [_term(scene, placement, group, context, batch) for group in found.values()]
    return tuple(sorted(terms, key=lambda term: -term.value))


def _term(scene: Scene, placement: Placement, costs: Sequence[Cost], context: int, batch: int) -> Term:
    first = costs[0]
    device = scene.machine.device(first.device)
    name, what = _WORDS.get(first.part, (first.part, first.part))
    constants = [scene.coefficients.values[cost.coefficient] for cost in costs]
    value = sum(cost.quantity * one.value for cost, one in zip(costs, constants, strict=True)) / batch
    basis: Basis = device.bandwidth_basis if first.part in ("attention", "head", "experts", "kv") else "table"
    why = f"{what}: " + "; ".join(one.why for one in constants)
    if first.part == "kv":
        why = f"{what} at {context} tokens: {constants[0].why}"
    joined = f"{name} {device.label}" if first.part == "crossing" else f"{name} on {device.label}"
    return Term(joined, value, "ms", why, basis, first.part, first.device, first.coefficient, first.quantity / batch)


def speed_text(prediction: Prediction) -> str:
    """A predicted speed: `44.7 t/s (39 to 50), estimated`."""
    return (
        f"{rate_text(prediction.tokens_per_s)} t/s"
        f" ({rate_text(prediction.low)} to {rate_text(prediction.high)}), {prediction.basis}"
    )
