"""The best plan for a model, a workload and a machine: all candidates, the fastest, and why the others lost."""

from __future__ import annotations

from dataclasses import replace

from app.errors import NoFitError
from app.solver import memory
from app.solver.explain import alternatives, notes, placement_text
from app.solver.model import ModelShape, Policy, Workload
from app.solver.placement import Shortfall, available_bytes, candidates, needed_bytes, reserve_bytes, shortfall
from app.solver.plan import DeviceMemory, Parameters, Placement, Plan
from app.solver.prediction import predict_decode
from app.solver.ram import with_ram_bandwidth
from app.solver.scene import Scene
from app.units import bytes_text
from detectors.facts import Machine

TIE = 0.03
"""Speeds closer than this are the same to the speed model: the placement on fewer devices wins."""

DEFAULT_UBATCH = 512
"""llama.cpp's own default."""

STREAMING_UBATCH = 2048
"""Where a GPU copies host-resident experts once per ubatch, a larger ubatch shares the copy over more tokens."""

DEFAULT_BATCH = 2048


def solve(scene: Scene, workload: Workload, policy: Policy, *, model_path: str = "") -> Plan:
    """The fastest placement that fits, with its parameters, memory, prediction and the runners-up.

    Raises:
        NoFitError: nothing fits; says by how many bytes the closest one fails, and what would make it fit.
    """
    machine, shape = with_ram_bandwidth(scene.machine), scene.shape
    scene = replace(scene, machine=machine)
    context = workload.mean_context
    parameters = _parameters(machine, workload, policy)
    fitting, failing = candidates(scene, parameters, policy)
    if not fitting:
        raise _no_fit(machine, shape, workload, failing)
    scored = [(predict_decode(scene, p, parameters, context=context), p) for p in fitting]
    fastest = max(prediction.tokens_per_s for prediction, _ in scored)
    tied = [pair for pair in scored if pair[0].tokens_per_s >= fastest * (1 - TIE)]
    prediction, placement = min(tied, key=lambda pair: (len(pair[1].devices), -pair[0].tokens_per_s))
    parameters = _tuned(machine, shape, placement, parameters, policy)
    return Plan(
        model_name=shape.name,
        model_path=model_path,
        workload=workload,
        placement=placement,
        parameters=parameters,
        memory=device_memory(machine, shape, placement, parameters, policy),
        decode=predict_decode(scene, placement, parameters, context=context),
        alternatives=alternatives(machine, shape, prediction, placement, scored, failing),
        notes=notes(machine, shape, placement, workload),
    )


def device_memory(
    machine: Machine, shape: ModelShape, placement: Placement, parameters: Parameters, policy: Policy
) -> tuple[DeviceMemory, ...]:
    """What the placement takes of each device, by formula, the attention device first."""
    weights = memory.weight_bytes(shape, placement)
    compute = memory.compute_bytes(shape, placement, parameters)
    kv = memory.kv_bytes(shape, placement, parameters)
    order = dict.fromkeys((*placement.devices, *weights, *compute))
    return tuple(
        DeviceMemory(
            device_id=device_id,
            weight_bytes=weights.get(device_id, 0),
            kv_bytes=kv.get(device_id, 0),
            compute_bytes=compute.get(device_id, 0),
            available_bytes=available_bytes(machine, machine.device(device_id), policy),
            reserve_bytes=reserve_bytes(machine.device(device_id), policy),
        )
        for device_id in order
    )


def _parameters(machine: Machine, workload: Workload, policy: Policy) -> Parameters:
    cpu = machine.cpu
    cores = (cpu.physical_cores or cpu.logical_cpus) if cpu else 1
    threads = policy.threads or (cpu.decode_threads if cpu else None) or max(1, cores)
    threads_batch = policy.threads or (cpu.prefill_threads if cpu else None) or max(1, cores)
    ubatch = policy.ubatch or DEFAULT_UBATCH
    return Parameters(
        context=workload.context * workload.parallel,
        parallel=workload.parallel,
        ubatch=ubatch,
        batch=max(DEFAULT_BATCH, ubatch),
        kv_type_k=policy.kv_type or "f16",
        kv_type_v=policy.kv_type or "f16",
        flash_attention=True,
        load_mode="mmap",
        threads=threads,
        threads_batch=threads_batch,
    )


def _tuned(
    machine: Machine, shape: ModelShape, placement: Placement, parameters: Parameters, policy: Policy
) -> Parameters:
    """The parameters that follow from the placement: how to load, and how many tokens a ubatch has."""
    kinds = {machine.device(device_id).kind for device_id in placement.devices}
    if not kinds & {"igpu", "dgpu"}:
        return parameters
    parameters = replace(parameters, load_mode="none")
    if policy.ubatch is None and "cpu" in kinds:
        wider = replace(parameters, ubatch=STREAMING_UBATCH)
        if shortfall(machine, needed_bytes(shape, placement, wider), placement, policy) is None:
            return wider
    return parameters


def _no_fit(machine: Machine, shape: ModelShape, workload: Workload, failing: list[Shortfall]) -> NoFitError:
    if not failing:
        return NoFitError(
            f"No device may hold {shape.name}: none of the allowed devices is on this machine.",
            hint="Name devices as `moetune runtime list` shows them, or allow all of them.",
        )
    closest = min(failing, key=lambda lack: lack.missing_bytes)
    label = placement_text(machine, closest.placement, shape)
    return NoFitError(
        f"{shape.name} ({bytes_text(shape.file_bytes)}) does not fit: the closest placement, {label}, needs"
        f" {bytes_text(closest.missing_bytes)} more of {closest.device.label} than its"
        f" {bytes_text(closest.available_bytes)} leaves.",
        hint=f"Free memory, use a smaller quantization, or a shorter context than {workload.context} (--context).",
    )
