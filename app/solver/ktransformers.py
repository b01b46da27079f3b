"""Plans for KTransformers: attention and a share of the experts on NVIDIA GPUs, all experts in host memory.

Every plan keeps the runtime's hard limits (`kt_methods`), and its memory: the experts that are on the GPU take host
memory all the same, and the prompts' chunks take work buffers on every NUMA node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.errors import NoFitError
from app.solver import memory
from app.solver.alternatives import timed
from app.solver.budget import available_bytes, reserve_bytes, usable_devices
from app.solver.curves import curves
from app.solver.kt_choices import kt_choices, kt_notes
from app.solver.kt_memory import converted, gpu_memory, host_memory, resident_limit
from app.solver.kt_methods import (
    ARCHITECTURES,
    METHODS,
    Method,
    indivisible,
    misaligned,
    missing_isa,
    pool_counts,
    unusable_gpu,
)
from app.solver.model import ModelShape, Policy, Workload
from app.solver.objectives import Work, reported, work_of
from app.solver.options import base_parameters
from app.solver.placement import likeness
from app.solver.plan import KtParameters, Parameters, Placement, Plan
from app.solver.prediction import predict_prefill
from app.solver.ram import with_ram_bandwidth
from app.solver.scene import Engine, Scene
from app.units import bytes_text
from detectors.facts import Device, Machine

RUNTIME = "ktransformers"
CHUNKS = (2048, 4096, 8192, 16384)
"""`--chunked-prefill-size`; SGLang's own by the GPU's memory is 2048 to 16384."""

FOUR_BITS = 5.0
"""Bits of a weight up to which a file counts as one of four bits: Q4_K_M has 4.9."""

LARGE = 100e9
"""Weights of the experts from which four bits cost little: the documents' warning names a model of 30e9."""

GPU_PREFILL_TOKENS = 1024
"""`--kt-gpu-prefill-token-threshold`: its documents use 400 to 4096."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One configuration that keeps all rules."""

    method: Method
    gpus: tuple[Device, ...]
    shape: ModelShape
    placement: Placement
    parameters: Parameters
    seconds: float


def solve_ktransformers(scene: Scene, workload: Workload, policy: Policy, *, model_path: str = "") -> Plan:
    """The best KTransformers plan for a model.

    Raises:
        NoFitError: none keeps the runtime's rules; says which rule forbids the one that comes closest.
    """
    machine = with_ram_bandwidth(scene.machine)
    scene = replace(scene, machine=machine, engine=Engine(RUNTIME, "cuda"))
    work, reasons = work_of(workload), list[str]()
    _check_model(scene.shape)
    ways = list(_ways(scene, workload, policy, work, reasons))
    if not ways:
        # The first reason of a method is that of its smallest configuration.
        first = {reason.partition(" needs ")[0]: reason for reason in reversed(reasons)}
        why = "; ".join(list(first.values())[::-1]) or "there is no GPU beside the processor"
        raise NoFitError(f"KTransformers cannot run {scene.shape.name} here: {why}.", hint="Use llama.cpp.")
    careful = [way for way in ways if not way.method.caution or _accepts_four_bits(scene.shape)] or ways
    best = min(careful, key=lambda way: way.seconds)
    return _plan(replace(scene, shape=best.shape), workload, policy, best, ways, model_path)


def _accepts_four_bits(shape: ModelShape) -> bool:
    """Whether four bits are what was asked for: the file's experts have no more, and the model is a large one."""
    weights = sum(layer.expert_weights for layer in shape.layers)
    return weights >= LARGE and 8 * shape.expert_bytes <= FOUR_BITS * weights


def _check_model(shape: ModelShape) -> None:
    if shape.architecture not in ARCHITECTURES or not shape.is_moe:
        raise NoFitError(
            f"KTransformers does not run {shape.name}: its kernels do not know {shape.architecture}.",
            hint="Use llama.cpp.",
        )
    if not all(layer.expert_weights for layer in shape.layers if layer.expert_bytes):
        raise NoFitError(f"How many weights {shape.name} has is not known, only its bytes.", hint="Use llama.cpp.")


def _ways(scene: Scene, workload: Workload, policy: Policy, work: Work, reasons: list[str]) -> Iterator[_Way]:
    """Every configuration that keeps the rules; what forbids the others goes into `reasons`."""
    machine = scene.machine
    if memory.HOST not in {device.id for device in usable_devices(machine, policy)}:
        reasons.append("it computes experts on the CPU, which is not to be used")
        return
    for method in METHODS:
        if policy.kt_method not in (None, method.name):
            continue
        if lacking := missing_isa(method, machine.cpu):
            reasons.append(f"{method.name} needs {', '.join(lacking)}, which the processor lacks")
            continue
        pools = _pools(scene.shape, machine, method, reasons)
        if not pools:
            continue
        for gpus in _gpu_groups(scene.shape, machine, policy, method, reasons):
            yield from _on(_Asked(scene, workload, policy, work, method, pools), gpus, reasons)


def _pools(shape: ModelShape, machine: Machine, method: Method, reasons: list[str]) -> int:
    """The most pools that the experts' width can be shared by; 0: none."""
    for pools in pool_counts(machine.cpu):
        why = misaligned(method, shape.expert_ff, pools)
        if not why:
            return pools
        reasons.append(f"{method.name}: {why}")
    return 0


def _gpu_groups(
    shape: ModelShape, machine: Machine, policy: Policy, method: Method, reasons: list[str]
) -> Iterator[tuple[Device, ...]]:
    """Every card by itself, and 2, 4 or 8 equal ones that share each layer."""
    alike: dict[object, list[Device]] = {}
    for gpu in usable_devices(machine, policy):
        if gpu.kind in ("dgpu", "igpu"):
            if why := unusable_gpu(gpu, method):
                reasons.append(why)
            else:
                alike.setdefault(likeness(gpu), []).append(gpu)
    for gpus in alike.values():
        for count in (1, 2, 4, 8):
            if count <= len(gpus) and not indivisible(shape, count):
                yield tuple(gpus[:count])


@dataclass(frozen=True, slots=True)
class _Asked:
    """The question, for one method and number of pools."""

    scene: Scene
    workload: Workload
    policy: Policy
    work: Work
    method: Method
    pools: int


def _on(asked: _Asked, gpus: tuple[Device, ...], reasons: list[str]) -> Iterator[_Way]:
    """The configurations on these GPUs."""
    machine, policy, method = asked.scene.machine, asked.policy, asked.method
    shape = converted(asked.scene.shape, method)
    scene = replace(asked.scene, shape=shape)
    owners = tuple(memory.HOST if layer.expert_bytes else gpus[0].id for layer in shape.layers)
    for chunk in CHUNKS if asked.work.prompt_tokens > CHUNKS[0] else CHUNKS[:1]:
        for threshold in (0, GPU_PREFILL_TOKENS) if method.layerwise else (0,):
            parameters = _parameters(asked, len(gpus), chunk, threshold)
            lack = _lacking_ram(machine, shape, parameters, policy)
            if lack > 0:
                reasons.append(f"{method.name} needs {bytes_text(lack)} more RAM")
                continue
            room = min(available_bytes(machine, gpu, policy) - reserve_bytes(gpu, policy) for gpu in gpus)
            resident = resident_limit(shape, method, parameters, room)
            if resident < 0:
                need = gpu_memory(shape, method, parameters).total_bytes
                reasons.append(f"{method.name} needs {bytes_text(need - room)} more of {gpus[0].label}")
                continue
            kt = parameters.kt
            assert kt is not None
            parameters = replace(parameters, kt=replace(kt, resident_experts=resident))
            placement = replace(Placement.on(gpus[0].id, owners), resident_experts=resident)
            seconds = timed(scene, asked.work, placement, parameters)[2]
            yield _Way(method, gpus, shape, placement, parameters, seconds)


def _parameters(asked: _Asked, gpus: int, chunk: int, threshold: int) -> Parameters:
    machine, policy = asked.scene.machine, asked.policy
    parameters = base_parameters(machine, asked.workload, policy, "bf16")
    # Pinned threads that wait spin: a core is left to each GPU's own thread, and slow cores would hold all back.
    threads = max(1, policy.threads or parameters.threads - gpus)
    threads = max(asked.pools, threads // asked.pools * asked.pools)
    kt = KtParameters(asked.method.name, threads, asked.pools, 0, chunk, gpus, threshold)
    return replace(parameters, ubatch=chunk, batch=chunk, kt=kt, cache_ram_bytes=0)


def _lacking_ram(machine: Machine, shape: ModelShape, parameters: Parameters, policy: Policy) -> int:
    """Bytes by which host memory, or that of one NUMA node, is too small; 0 or less where it is enough."""
    assert parameters.kt is not None
    host = machine.device(memory.HOST)
    needed = host_memory(shape, parameters).total_bytes
    reserve = reserve_bytes(host, policy)
    lacks = [needed + reserve - available_bytes(machine, host, policy)]
    if parameters.kt.pools > 1 and machine.cpu is not None:
        sizes = [node.memory_bytes for node in machine.cpu.numa_nodes if node.cpus and node.memory_bytes]
        lacks += [needed // parameters.kt.pools + reserve // parameters.kt.pools - size for size in sizes]
    return max(lacks)


def _plan(scene: Scene, workload: Workload, policy: Policy, best: _Way, ways: list[_Way], model_path: str) -> Plan:
    machine, placement, parameters = scene.machine, best.placement, best.parameters
    decode, _, turn_s = timed(scene, reported(workload), placement, parameters)
    host = machine.device(memory.HOST)
    on_gpu = gpu_memory(best.shape, best.method, parameters)
    sizes = (
        *(
            replace(
                on_gpu,
                device_id=gpu.id,
                available_bytes=available_bytes(machine, gpu, policy),
                reserve_bytes=reserve_bytes(gpu, policy),
            )
            for gpu in best.gpus
        ),
        replace(
            host_memory(best.shape, parameters),
            available_bytes=available_bytes(machine, host, policy),
            reserve_bytes=reserve_bytes(host, policy),
        ),
    )
    prompt = min(workload.prompt_tokens, workload.context)
    others = {way.method.name: way.seconds for way in sorted(ways, key=lambda way: -way.seconds)}
    return Plan(
        model_name=best.shape.name,
        model_path=model_path,
        workload=workload,
        placement=placement,
        parameters=parameters,
        memory=sizes,
        decode=decode,
        alternatives=(),
        notes=kt_notes(machine, best.shape, best.method, parameters),
        runtime=RUNTIME,
        prefill=predict_prefill(scene, placement, parameters, prompt_tokens=prompt),
        turn_s=turn_s,
        choices=kt_choices(machine, best.method, parameters, others),
        curves=curves(scene, placement, parameters, workload),
    )
