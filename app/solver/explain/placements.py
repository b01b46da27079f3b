"""A placement in words: what is where, and what a person should know about it."""

from __future__ import annotations

from app.solver.model import ModelShape, Workload
from app.solver.plan import Placement
from detectors.facts import Machine


def placement_text(machine: Machine, placement: Placement, shape: ModelShape) -> str:
    """`all on A`, `layers 0-11 on A, 12-47 on B`, or `attention on A, layers of experts: 12 on A, 24 on B`."""
    if len(placement.attention_devices) > 1:
        return _divided_text(machine, placement, shape)
    name = machine.label(placement.head)
    parts = _expert_parts(machine, placement, shape)
    if not parts or placement.devices == (placement.head,):
        return f"all on {name}"
    moe_layers = sum(1 for layer in shape.layers if layer.expert_bytes)
    if len(parts) == 1:
        text = f"attention on {name}, all {moe_layers} layers' experts {parts[0].removeprefix(f'{moe_layers} ')}"
        if placement.resident_experts:
            text += f", {placement.resident_experts} of {shape.expert_count} of each on {name} besides"
        return text
    return f"attention on {name}, layers of experts: {', '.join(parts)}"


def _expert_parts(machine: Machine, placement: Placement, shape: ModelShape, away: bool = False) -> list[str]:
    """How many layers' experts each device has; `away`: only of layers whose attention is elsewhere."""
    parts = []
    for device_id in placement.devices:
        layers = [
            i
            for i in placement.expert_layers(device_id)
            if shape.layers[i].expert_bytes and not (away and placement.attention[i] == device_id)
        ]
        if layers:
            parts.append(f"{len(layers)} on {machine.label(device_id)}")
    return parts


def _divided_text(machine: Machine, placement: Placement, shape: ModelShape) -> str:
    blocks: list[str] = []
    for device_id in dict.fromkeys(placement.attention):
        layers = placement.attention_layers(device_id)
        numbers = f"layers {layers[0]}-{layers[-1]}" if len(layers) > 1 else f"layer {layers[0]}"
        blocks.append(f"{numbers if not blocks else numbers.partition(' ')[2]} on {machine.label(device_id)}")
    text = ", ".join(blocks)
    away = _expert_parts(machine, placement, shape, away=True)
    return f"{text}; experts of {', '.join(away)}" if away else text


def notes(machine: Machine, shape: ModelShape, placement: Placement, workload: Workload) -> tuple[str, ...]:
    """What a person should know about this plan, one sentence each."""
    found = []
    if workload.context > shape.context_length > 0:
        found.append(
            f"The context of {workload.context} tokens is beyond the {shape.context_length} the model was trained for."
        )
    if not shape.is_moe:
        found.append("The model is dense: there are no experts to place.")
    elif len(placement.devices) == 1 and len(machine.devices) > 1:
        name = machine.label(placement.head)
        found.append(f"One device is enough: {name} holds it all, and the splits that fit are no faster.")
    return tuple(found)
