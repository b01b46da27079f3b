"""What would make a model fit that does not: real figures, each from asking again with one thing changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from app.errors import NoFitError
from app.solver import memory
from app.solver.budget import Shortfall, budgets, needed_bytes, shortfall, usable_devices
from app.solver.explain import placement_text
from app.solver.layers import layers_of
from app.solver.model import ModelShape, Policy, Workload
from app.solver.options import base_parameters
from app.solver.placement import Filler
from app.solver.plan import Placement
from app.solver.scene import Scene
from app.units import GIB, bytes_text, count_text
from detectors.facts import Device, Machine

Fits = Callable[[Scene, Workload, Policy], bool]
"""Whether anything fits. The search's own answer, so that what is promised here is what it will find."""

_STEPS = 7
"""Halvings: 1 % of the file, or of the context."""

_CONTEXT_STEP = 1024


def no_fit(scene: Scene, workload: Workload, policy: Policy, fits: Fits) -> NoFitError:
    """The answer where nothing fits: by how much the closest placement fails, and what would help."""
    machine, shape = scene.machine, scene.shape
    if not usable_devices(machine, policy):
        return NoFitError(
            f"No device may hold {shape.name}: none of the allowed devices is on this machine.",
            hint="Name devices as `moetune runtime list` shows them, or allow all of them.",
        )
    closest = closest_shortfall(scene, workload, policy)
    label = placement_text(machine, closest.placement, shape)
    helps = remedies(scene, workload, policy, fits)
    return NoFitError(
        f"{shape.name} ({bytes_text(shape.file_bytes)}) does not fit: the closest placement, {label}, needs"
        f" {bytes_text(closest.missing_bytes)} more of {closest.device.label} than its"
        f" {bytes_text(closest.available_bytes)} leaves.",
        hint=f"Any of these would do: {'; '.join(helps)}." if helps else "No change of context or cache would do.",
    )


def closest_shortfall(scene: Scene, workload: Workload, policy: Policy) -> Shortfall:
    """The placement that fails by the fewest bytes: all devices filled, and what is left over on the roomiest."""
    machine, shape = scene.machine, scene.shape
    parameters = base_parameters(machine, workload, policy, policy.kv_type or "f16")
    devices = usable_devices(machine, policy)
    filler = Filler(machine, shape, layers_of(shape), budgets(machine, policy, devices), parameters)
    found = []
    for attention in devices:
        for placement in {_overfilled(filler, attention.id, devices), _alone(shape, attention.id)}:
            lack = shortfall(machine, needed_bytes(shape, placement, parameters), placement, policy)
            if lack is not None:
                found.append(lack)
    return min(found, key=lambda lack: lack.missing_bytes)


def _alone(shape: ModelShape, device_id: str) -> Placement:
    return Placement.on(device_id, (device_id,) * len(shape.layers))


def _overfilled(filler: Filler, attention: str, devices: Sequence[Device]) -> Placement:
    """Layers, or their experts, on every device as far as they fit, and what is left on the one with most room."""
    held = filler.held(attention, [device.id for device in devices], filler.parameters)
    room = {device.id: filler.budgets.device[device.id] - held.get(device.id, 0) for device in devices}
    order = sorted(room, key=lambda device_id: room[device_id])
    layers, homes, start = filler.layers, [attention] * len(filler.layers.kind_of), 0
    for device_id in order:
        end = len(layers.moe) if device_id == order[-1] else filler.reach(start, room[device_id])
        for layer in layers.moe[start:end]:
            homes[layer] = device_id
        start = end
    return Placement.on(attention, homes)


def remedies(scene: Scene, workload: Workload, policy: Policy, fits: Fits) -> list[str]:
    """Everything that alone would make it fit, as phrases with figures."""
    found = []
    shape = scene.shape
    if context := _longest(lambda tokens: fits(scene, replace(workload, context=tokens), policy), workload.context):
        found.append(f"a context of {count_text(context)} tokens (--context {context})")
    if workload.parallel > 1 and fits(scene, replace(workload, parallel=1), policy):
        found.append("one sequence instead of several (--parallel 1)")
    if policy.kv_type in ("f32", "f16", "bf16") and fits(scene, workload, replace(policy, kv_type="q8_0")):
        found.append("a q8_0 KV cache (--kv-type q8_0)")
    if share := _largest_share(lambda part: fits(replace(scene, shape=scaled(shape, part)), workload, policy)):
        found.append(f"a smaller quantization, with a file of at most {bytes_text(round(shape.file_bytes * share))}")
    if needed := _more_memory(scene, workload, policy, fits):
        found.append(needed)
    return found


def scaled(shape: ModelShape, share: float) -> ModelShape:
    """The model in fewer bits: all weights that much smaller."""

    def smaller(size: int) -> int:
        return int(size * share)

    layers = tuple(
        replace(
            layer,
            attention_bytes=smaller(layer.attention_bytes),
            shared_bytes=smaller(layer.shared_bytes),
            dense_bytes=smaller(layer.dense_bytes),
            expert_bytes=smaller(layer.expert_bytes),
        )
        for layer in shape.layers
    )
    return replace(
        shape,
        layers=layers,
        embedding_bytes=smaller(shape.embedding_bytes),
        head_bytes=smaller(shape.head_bytes),
        lookup_bytes=smaller(shape.lookup_bytes),
        file_bytes=smaller(shape.file_bytes),
    )


def _more_memory(scene: Scene, workload: Workload, policy: Policy, fits: Fits) -> str | None:
    """How much more RAM would do, in whole steps of 8 GiB; or a larger GTT, where that is what binds."""
    machine = scene.machine
    for device in machine.devices:
        if device.kind == "igpu" and device.limit_bytes is not None:
            freed = replace(scene, machine=_with_gtt(machine, device.id))
            if fits(freed, workload, policy):
                return f"letting {device.label} map more of the RAM than {bytes_text(device.limit_bytes)} (GTT)"
    for extra in (8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768, 1024):
        if fits(replace(scene, machine=with_ram(machine, extra * GIB)), workload, policy):
            return f"{extra} GiB more RAM"
    return None


def with_ram(machine: Machine, extra: int) -> Machine:
    """The machine with that many more bytes of RAM, free."""
    host = machine.device(memory.HOST).pool_id
    pools = tuple(
        replace(
            pool,
            total_bytes=pool.total_bytes + extra,
            available_bytes=None if pool.available_bytes is None else pool.available_bytes + extra,
        )
        if pool.id == host
        else pool
        for pool in machine.pools
    )

    def larger(size: int | None) -> int | None:
        return None if size is None else size + extra

    devices = tuple(
        replace(device, limit_bytes=larger(device.limit_bytes), available_bytes=larger(device.available_bytes))
        if device.id == memory.HOST
        else device
        for device in machine.devices
    )
    return replace(machine, pools=pools, devices=devices)


def _with_gtt(machine: Machine, device_id: str) -> Machine:
    devices = tuple(
        replace(device, limit_bytes=None, available_bytes=None) if device.id == device_id else device
        for device in machine.devices
    )
    return replace(machine, devices=devices)


def _longest(fits: Callable[[int], bool], context: int) -> int | None:
    """The longest shorter context that fits, in whole steps."""
    low, high = 0, context // _CONTEXT_STEP
    if high < 1 or not fits(_CONTEXT_STEP):
        return None
    low = 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _CONTEXT_STEP) else (low, middle)
    return low * _CONTEXT_STEP


def _largest_share(fits: Callable[[float], bool]) -> float | None:
    """The largest share of the weights that fits."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low or None
