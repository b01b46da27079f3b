"""The outcome of a search as a plan: memory, predictions, reasons, curves."""

from __future__ import annotations

from dataclasses import dataclass

from app.solver import memory
from app.solver.alternatives import against_alone, lacking_alone, runners_up, timed
from app.solver.budget import available_bytes, other_bytes, reserve_bytes, usable_devices, with_prompt_cache
from app.solver.choices import choices
from app.solver.curves import curves
from app.solver.defects import defect_notes
from app.solver.explain import notes
from app.solver.model import ModelShape, Policy, Workload
from app.solver.objectives import reported, work_of
from app.solver.placement import Candidate
from app.solver.plan import DeviceMemory, Parameters, Placement, Plan
from app.solver.prediction import predict_prefill
from app.solver.scene import Scene
from detectors.facts import Machine


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found."""

    chosen: Candidate
    found: tuple[Candidate, ...]
    """All that fit, one for each set of devices and type of cache."""


def plan_of(scene: Scene, workload: Workload, policy: Policy, outcome: Outcome, model_path: str) -> Plan:
    """The plan for what was chosen, with everything a person may ask about it."""
    machine, shape, work = scene.machine, scene.shape, work_of(workload)
    placement, parameters = outcome.chosen.placement, outcome.chosen.parameters
    sizes = device_memory(machine, shape, placement, parameters, policy)
    memories, parameters = with_prompt_cache(machine, sizes, parameters)
    decode, _, turn_s = timed(scene, reported(workload), placement, parameters)
    lacking = lacking_alone(machine, shape, usable_devices(machine, policy), parameters, policy)
    prompt = min(workload.prompt_tokens, workload.context)
    return Plan(
        model_name=shape.name,
        model_path=model_path,
        workload=workload,
        placement=placement,
        parameters=parameters,
        memory=memories,
        decode=decode,
        alternatives=runners_up(scene, workload, outcome.chosen, outcome.found, lacking),
        notes=(
            *against_alone(scene, workload, outcome.chosen, outcome.found),
            *notes(machine, shape, placement, workload),
            *defect_notes(scene, placement, parameters),
        ),
        prefill=predict_prefill(scene, placement, parameters, prompt_tokens=prompt),
        turn_s=turn_s,
        choices=choices(scene, work, policy, placement, parameters, outcome.found),
        curves=curves(scene, placement, parameters, workload),
        nextn_layers=shape.nextn_layers,
    )


def device_memory(
    machine: Machine, shape: ModelShape, placement: Placement, parameters: Parameters, policy: Policy
) -> tuple[DeviceMemory, ...]:
    """What the placement takes of each device, by formula, the devices with attention first."""
    weights = memory.weight_bytes(shape, placement)
    compute = memory.compute_bytes(shape, placement, parameters)
    kv = memory.kv_bytes(shape, placement, parameters)
    other = other_bytes(machine, placement.devices)
    order = dict.fromkeys((*placement.devices, *weights, *compute))
    return tuple(
        DeviceMemory(
            device_id=device_id,
            weight_bytes=weights.get(device_id, 0),
            kv_bytes=kv.get(device_id, 0),
            compute_bytes=compute.get(device_id, 0),
            available_bytes=available_bytes(machine, machine.device(device_id), policy),
            reserve_bytes=reserve_bytes(machine.device(device_id), policy),
            other_bytes=other.get(device_id, 0),
        )
        for device_id in order
    )
