"""Which device may hold what: budgets, and the fastest placement that keeps within them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.solver import constants as k
from app.solver import memory
from app.solver.decode import decode_costs
from app.solver.model import ModelShape, Policy
from app.solver.plan import Parameters, Placement
from app.solver.scene import Scene, total_ms
from detectors.facts import Device, Machine


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A placement that does not fit: where, and by how much."""

    placement: Placement
    device: Device
    missing_bytes: int
    needed_bytes: int
    """What the placement would put on that device, or on all devices of its pool."""
    available_bytes: int


def reserve_bytes(device: Device, policy: Policy) -> int:
    """What to leave alone of that device's memory; nothing where the person has set a limit themselves."""
    if policy.limit(device.id) is not None:
        return 0
    if policy.reserve_bytes is not None:
        return policy.reserve_bytes
    if device.kind == "dgpu":
        return k.DISCRETE_RESERVE_BYTES
    return 0 if device.kind == "remote" and device.pool_id != "ram" else k.HOST_RESERVE_BYTES


def available_bytes(machine: Machine, device: Device, policy: Policy) -> int:
    """Bytes that a plan may use on that device before the reserve: the least of pool, device and person's limit."""
    pool = machine.pool(device.pool_id)
    bounds = [pool.total_bytes if pool.available_bytes is None else pool.available_bytes]
    bounds += [
        bound for bound in (device.limit_bytes, device.available_bytes, policy.limit(device.id)) if bound is not None
    ]
    return min(bounds)


def needed_bytes(shape: ModelShape, placement: Placement, parameters: Parameters) -> dict[str, int]:
    """Weights, KV cache and compute buffers together, by device id."""
    held: defaultdict[str, int] = defaultdict(int, memory.weight_bytes(shape, placement))
    for device_id, size in memory.compute_bytes(shape, placement, parameters).items():
        held[device_id] += size
    for device_id, size in memory.kv_bytes(shape, placement, parameters).items():
        held[device_id] += size
    return dict(held)


def shortfall(machine: Machine, needed: Mapping[str, int], placement: Placement, policy: Policy) -> Shortfall | None:
    """The first device or shared pool that `needed` overfills; `None` where all fits.

    Devices that share a pool (an APU and its CPU) are added up: their bytes come out of the same memory.
    """
    by_pool: defaultdict[str, int] = defaultdict(int)
    for device_id, size in needed.items():
        device = machine.device(device_id)
        available, reserve = available_bytes(machine, device, policy), reserve_bytes(device, policy)
        by_pool[device.pool_id] += size
        pool = machine.pool(device.pool_id)
        pool_free = pool.total_bytes if pool.available_bytes is None else pool.available_bytes
        for want, have in ((size, available), (by_pool[device.pool_id], pool_free)):
            if want + reserve > have:
                return Shortfall(placement, device, want + reserve - have, want, have)
    return None


def usable_devices(machine: Machine, policy: Policy) -> tuple[Device, ...]:
    """The devices that the policy allows."""
    allowed = policy.devices
    return tuple(device for device in machine.devices if allowed is None or device.id in allowed)


def candidates(scene: Scene, parameters: Parameters, policy: Policy) -> tuple[list[Placement], list[Shortfall]]:
    """Every placement worth comparing, and those that would be but for their bytes.

    Layers are alike, so the cost of a layer's experts depends only on the device: filling the cheapest device first is
    exact for that attention device. The plain placements (all experts on one device) are there to be compared with.
    """
    machine, shape = scene.machine, scene.shape
    devices = usable_devices(machine, policy)
    fitting: dict[Placement, None] = {}
    failing: list[Shortfall] = []
    for attention in devices:
        owners = [attention] if attention.id == memory.HOST or not shape.is_moe else list(devices)
        owners.sort(key=lambda owner: _layer_ms(scene, owner, attention, parameters))
        everywhere = [_placed(shape, attention.id, [owner.id] * len(shape.layers)) for owner in owners]
        for placement in (_filled(scene, parameters, policy, attention, owners), *everywhere):
            lack = shortfall(machine, needed_bytes(shape, placement, parameters), placement, policy)
            if lack is None:
                fitting[placement] = None
            else:
                failing.append(lack)
    return list(fitting), failing


def _layer_ms(scene: Scene, owner: Device, attention: Device, parameters: Parameters) -> float:
    """Milliseconds of all layers' experts on `owner`, crossings included: what orders the devices."""
    placement = _placed(scene.shape, attention.id, [owner.id] * len(scene.shape.layers))
    costs = decode_costs(scene, placement, parameters, context=0)
    return total_ms([cost for cost in costs if cost.part in ("experts", "crossing")], scene.coefficients)


def _placed(shape: ModelShape, attention: str, owners: Sequence[str]) -> Placement:
    """Layers without experts belong to the attention device, so that equal placements compare equal."""
    return Placement.on(
        attention,
        [owner if layer.expert_bytes else attention for layer, owner in zip(shape.layers, owners, strict=True)],
    )


def _filled(
    scene: Scene, parameters: Parameters, policy: Policy, attention: Device, owners: Sequence[Device]
) -> Placement:
    """Experts layer by layer onto the cheapest device that still has room; the rest onto the last one."""
    shape = scene.shape
    chosen = [owners[-1].id] * len(shape.layers)
    layer, position = 0, 0
    while layer < len(shape.layers) and position < len(owners) - 1:
        chosen[layer] = owners[position].id
        placement = _placed(shape, attention.id, chosen)
        needed = needed_bytes(shape, placement, parameters)
        # What is not placed yet rests on the last device, which may be over its budget until more is moved off it.
        watched = {device_id: size for device_id, size in needed.items() if device_id != owners[-1].id}
        if shortfall(scene.machine, watched, placement, policy) is None:
            layer += 1
        else:
            chosen[layer] = owners[-1].id
            position += 1
    return _placed(shape, attention.id, chosen)
