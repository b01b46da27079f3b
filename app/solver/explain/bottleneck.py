"""What limits a plan, and what would move it: the same question asked again of a changed machine or workload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.errors import NoFitError
from app.solver.decode import read_bandwidth
from app.solver.explain.placements import placement_text
from app.solver.explain.scenes import scene_of_plan
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import Policy
from app.solver.objectives import reported
from app.solver.plan import Parameters, Plan, Prediction, Term
from app.solver.prediction import predict_decode, predict_prefill
from app.solver.ram import with_ram_bandwidth
from app.solver.scene import Scene
from app.solver.search import solve
from app.units import bytes_text, count_text
from detectors.facts import Cpu, Device, Machine

MORE_MEMORY = 1.5
FASTER = 2.0
LEAST_CONTEXT = 1024
"""Half a context below this is of no use to anybody."""


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the time one resource takes."""

    resource: str
    """`the memory of 8060S`, `launches on RTX 4090`, `crossings to CPU`."""
    ms: float
    share: float
    """Of the whole, 0 to 1."""
    kind: str
    """`memory`, `cores`, `launches`, `crossings`, `link` or `network`."""
    device: str


@dataclass(frozen=True, slots=True)
class Move:
    """A change, and what it would do. Gains are relative: 0.2 is 20 % faster."""

    change: str
    decode_gain: float
    prefill_gain: float
    turn_gain: float
    """Less time from prompt to end of answer: 0.25 is 25 % more turns in the same time."""
    then: str = ""
    """What the plan would be then, where it would be another; empty: as it is."""


def shares(scene: Scene, prediction: Prediction) -> tuple[Share, ...]:
    """What the time of a token goes to, by resource, the largest first. They add up to the whole."""
    found: dict[tuple[str, str], float] = {}
    for term in prediction.terms:
        for part in term.parts or (term,):
            key = (_kind(scene, part), part.device)
            found[key] = found.get(key, 0.0) + part.value
    total = sum(found.values())
    listed = [
        Share(_resource(scene.machine, kind, device), ms, ms / total, kind, device)
        for (kind, device), ms in found.items()
    ]
    return tuple(sorted(listed, key=lambda one: -one.ms))


def _kind(scene: Scene, term: Term) -> str:
    if term.part in ("crossing", "RPC", "layers", "streaming"):
        return {"crossing": "crossings", "RPC": "network", "layers": "launches", "streaming": "link"}[term.part]
    constant = scene.coefficients.values.get(term.coefficient)
    return "memory" if constant is None or constant.unit == "ms at peak bandwidth" else "cores"


def _resource(machine: Machine, kind: str, device_id: str) -> str:
    device, label = machine.device(device_id), machine.label(device_id)
    if kind == "memory":
        return _memory_name(machine, device)
    if kind == "launches":
        return f"{'barriers' if device.kind == 'cpu' else 'launches'} on {label}"
    return {
        "cores": "the CPU's cores" if device.kind == "cpu" else f"the cores of {label}",
        "crossings": f"crossings to {label}",
        "link": f"the link of {label}",
        "network": f"the network to {label}",
    }[kind]


def _memory_name(machine: Machine, device: Device) -> str:
    if device.kind == "cpu":
        return "the RAM"
    label = machine.label(device.id)
    return f"the RAM under {label}" if device.kind == "igpu" else f"the memory of {label}"


def moves(scene: Scene, plan: Plan, policy: Policy) -> tuple[Move, ...]:
    """What each single change would gain, the most of a turn first.

    A faster part is reckoned with the same plan; more memory and a shorter context with the best plan they allow.

    Args:
        scene: model, machine, constants, as the solver was asked with.
        plan: what was chosen.
        policy: what the person decided.
    """
    scene = replace(scene, machine=with_ram_bandwidth(scene.machine))
    before = _Speeds.of(scene, plan, plan.parameters)
    found = [
        *_faster(scene, plan, before),
        *_roomier(scene, plan, policy, before),
        *_shorter(scene, plan, policy, before),
    ]
    return tuple(sorted(found, key=lambda move: -move.turn_gain))


@dataclass(frozen=True, slots=True)
class _Speeds:
    """Decode at the depth of the plan, its prompt, and both together."""

    decode_ms: float
    prefill_ms: float
    turn_s: float

    @classmethod
    def of(cls, scene: Scene, plan: Plan, parameters: Parameters) -> _Speeds:
        scene = scene_of_plan(scene, plan)
        work = plan.workload
        depth = plan.decode.at_context
        prompt = max(1, min(work.prompt_tokens, work.context))
        decode = predict_decode(scene, plan.placement, parameters, context=depth, batch=plan.decode.batch)
        prefill = predict_prefill(scene, plan.placement, parameters, prompt_tokens=prompt)
        turn_s = reported(work).seconds(prefill.ms_per_token, decode.ms_per_token * decode.batch)
        return cls(decode.ms_per_token, prefill.ms_per_token, turn_s)

    def move(self, change: str, after: _Speeds, then: str = "") -> Move:
        return Move(
            change,
            self.decode_ms / after.decode_ms - 1,
            self.prefill_ms / after.prefill_ms - 1,
            self.turn_s / after.turn_s - 1,
            then,
        )


def _faster(scene: Scene, plan: Plan, before: _Speeds) -> Iterator[Move]:
    machine = scene.machine
    used = [machine.device(device_id) for device_id in plan.placement.devices]
    for pool_id in dict.fromkeys(device.pool_id for device in used):
        names = [_memory_name(machine, device) for device in used if device.pool_id == pool_id]
        changed = _with_bandwidth(machine, pool_id, FASTER)
        yield before.move(
            f"{names[0]} twice as fast", _Speeds.of(replace(scene, machine=changed), plan, plan.parameters)
        )
    for device in used:
        if device.kind in ("dgpu", "igpu") and device.fp16_tflops:
            changed = _replaced(machine, replace(device, fp16_tflops=device.fp16_tflops * FASTER))
            after = _Speeds.of(replace(scene, machine=changed), plan, plan.parameters)
            yield before.move(f"{machine.label(device.id)} with twice the TFLOPS", after)
    if machine.cpu is not None and any(device.kind == "cpu" for device in used):
        yield before.move("twice the CPU cores", _with_more_cores(scene, machine.cpu, plan))
    if len({device.pool_id for device in used}) > 1 and machine.links:
        wider = tuple(
            replace(link, bandwidth_gbps=link.bandwidth_gbps and link.bandwidth_gbps * FASTER) for link in machine.links
        )
        changed = replace(machine, links=wider)
        yield before.move("links twice as wide", _Speeds.of(replace(scene, machine=changed), plan, plan.parameters))


def _with_more_cores(scene: Scene, cpu: Cpu, plan: Plan) -> _Speeds:
    """All of them for prompts; for decoding, whichever number is faster: threads wait for each other."""
    cores = cpu.physical_cores and cpu.physical_cores * 2
    machine = replace(scene.machine, cpu=replace(cpu, physical_cores=cores, logical_cpus=cpu.logical_cpus * 2))
    own = replace(plan.parameters, threads_batch=plan.parameters.threads_batch * 2)
    if own.kt is not None:
        own = replace(own, kt=replace(own.kt, cpu_threads=own.kt.cpu_threads * 2))
    tried = (own, replace(own, threads=own.threads * 2))
    speeds = [_Speeds.of(replace(scene, machine=machine), plan, parameters) for parameters in tried]
    return min(speeds, key=lambda speed: speed.turn_s)


def _roomier(scene: Scene, plan: Plan, policy: Policy, before: _Speeds) -> Iterator[Move]:
    """More memory on each card that does not hold the model already."""
    machine = scene.machine
    for device in machine.devices:
        held = policy.devices is None or device.id in policy.devices
        if device.kind != "dgpu" or not held or plan.placement.devices == (device.id,) or policy.limit(device.id):
            continue
        pool = machine.pool(device.pool_id)
        added = round(pool.total_bytes * (MORE_MEMORY - 1))
        free = None if pool.available_bytes is None else pool.available_bytes + added
        bigger = replace(pool, total_bytes=pool.total_bytes + added, available_bytes=free)
        changed = replace(machine, pools=tuple(bigger if one is pool else one for one in machine.pools))
        changed = _replaced(
            changed,
            replace(
                device,
                limit_bytes=device.limit_bytes and device.limit_bytes + added,
                available_bytes=device.available_bytes and device.available_bytes + added,
            ),
        )
        label = f"{machine.label(device.id)} with {bytes_text(bigger.total_bytes)} (+50 %)"
        yield from _again(replace(scene, machine=changed), plan, policy, before, label)


def _shorter(scene: Scene, plan: Plan, policy: Policy, before: _Speeds) -> Iterator[Move]:
    half = plan.workload.context // 2
    if half < LEAST_CONTEXT or plan.workload.objective == "context":
        return
    shorter = replace(plan, workload=replace(plan.workload, context=half))
    yield from _again(scene, shorter, policy, before, f"half the context ({count_text(half)})")


def _again(scene: Scene, plan: Plan, policy: Policy, before: _Speeds, label: str) -> Iterator[Move]:
    """The best plan there would be, for the workload of `plan`."""
    try:
        solver = solve if plan.parameters.kt is None else solve_ktransformers
        found = solver(scene, plan.workload, policy, model_path=plan.model_path)
    except NoFitError:
        return
    text = placement_text(scene.machine, found.placement, scene.shape)
    then = text if found.placement != plan.placement else ""
    yield before.move(label, _Speeds.of(scene, found, found.parameters), then)


def _with_bandwidth(machine: Machine, pool_id: str, times: float) -> Machine:
    """Every device of a pool reads that many times as fast: a memory serves all who draw on it."""
    devices = tuple(
        replace(device, bandwidth_gbps=read_bandwidth(device)[0] * times) if device.pool_id == pool_id else device
        for device in machine.devices
    )
    return replace(machine, devices=devices)


def _replaced(machine: Machine, changed: Device) -> Machine:
    return replace(machine, devices=tuple(changed if one.id == changed.id else one for one in machine.devices))
