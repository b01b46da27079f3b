"""How many bytes a plan may use: of each device, and of the memory that several devices share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from app.solver import constants as k
from app.solver import memory
from app.solver.model import ModelShape, Policy
from app.solver.plan import DeviceMemory, Parameters, Placement
from detectors.facts import Device, Machine

CACHE_STEP = 256 * 1024**2
"""The prompt cache is limited in whole steps: a prompt of a few thousand tokens takes as much."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A placement that does not fit: where, and by how much."""

    placement: Placement
    device: Device
    missing_bytes: int
    needed_bytes: int
    """What the placement would put on that device, or on all devices of its pool."""
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Budgets:
    """What the devices of a machine may hold, reserves taken off."""

    device: Mapping[str, int]
    """By device id."""
    pool: Mapping[str, int]
    """By pool id: what the devices that draw on it may hold together."""
    pool_of: Mapping[str, str]
    """Device id -> pool id."""


def reserve_bytes(device: Device, policy: Policy) -> int:
    """What to leave alone of that device's memory; nothing where the person has set a limit themselves."""
    if policy.limit(device.id) is not None:
        return 0
    if policy.reserve_bytes is not None:
        return policy.reserve_bytes
    if device.kind == "dgpu":
        return k.DISCRETE_RESERVE_BYTES - memory.GPU_CONTEXT_BYTES
    return 0 if device.kind == "remote" and device.pool_id != "ram" else k.HOST_RESERVE_BYTES


def available_bytes(machine: Machine, device: Device, policy: Policy) -> int:
    """Bytes that a plan may use on that device before the reserve: the least of pool, device and person's limit."""
    bounds = [pool_bytes(machine, device.pool_id)]
    bounds += [
        bound for bound in (device.limit_bytes, device.available_bytes, policy.limit(device.id)) if bound is not None
    ]
    return min(bounds)


def pool_bytes(machine: Machine, pool_id: str) -> int:
    """What is free in a pool, or all of it where the system does not say."""
    pool = machine.pool(pool_id)
    return pool.total_bytes if pool.available_bytes is None else pool.available_bytes


def budgets(machine: Machine, policy: Policy, devices: Iterable[Device]) -> Budgets:
    """The room on these devices; the host is always one of them, since tables and input buffers are there."""
    chosen = {device.id: device for device in devices}
    if memory.HOST not in chosen:
        chosen |= {device.id: device for device in machine.devices if device.id == memory.HOST}
    pools: dict[str, int] = {}
    for device in chosen.values():
        left = pool_bytes(machine, device.pool_id) - reserve_bytes(device, policy)
        pools[device.pool_id] = min(left, pools.get(device.pool_id, left))
    return Budgets(
        {d.id: available_bytes(machine, d, policy) - reserve_bytes(d, policy) for d in chosen.values()},
        pools,
        {d.id: d.pool_id for d in chosen.values()},
    )


def other_bytes(machine: Machine, devices: Iterable[str]) -> dict[str, int]:
    """What the engine takes of these devices besides weights, cache and buffers: its context on a discrete GPU."""
    return {device_id: memory.GPU_CONTEXT_BYTES for device_id in devices if machine.device(device_id).kind == "dgpu"}


def needed_bytes(shape: ModelShape, placement: Placement, parameters: Parameters) -> dict[str, int]:
    """Weights, KV cache and compute buffers together, by device id."""
    held: defaultdict[str, int] = defaultdict(int, memory.weight_bytes(shape, placement))
    for sizes in (
        memory.compute_bytes(shape, placement, parameters),
        memory.kv_bytes(shape, placement, parameters),
    ):
        for device_id, size in sizes.items():
            held[device_id] += size
    return dict(held)


def shortfall(machine: Machine, needed: Mapping[str, int], placement: Placement, policy: Policy) -> Shortfall | None:
    """The first device or shared pool that `needed` overfills; `None` where all fits.

    Devices that share a pool (an APU and its CPU) are added up: their bytes come out of the same memory. What the
    engine takes besides is added here.
    """
    other = other_bytes(machine, placement.devices)
    drawn: defaultdict[str, int] = defaultdict(int)
    for device_id, size in needed.items():
        device = machine.device(device_id)
        want = size + other.get(device_id, 0)
        reserve = reserve_bytes(device, policy)
        drawn[device.pool_id] += want
        available = available_bytes(machine, device, policy)
        for wanted, have in ((want, available), (drawn[device.pool_id], pool_bytes(machine, device.pool_id))):
            if wanted + reserve > have:
                return Shortfall(placement, device, wanted + reserve - have, wanted, have)
    return None


def with_prompt_cache(
    machine: Machine, memories: tuple[DeviceMemory, ...], parameters: Parameters
) -> tuple[tuple[DeviceMemory, ...], Parameters]:
    """The plan's memory with the server's prompt cache, and the parameters with its limit where RAM is short of it.

    The cache takes what the plan leaves: it saves prompts that come again, and is not worth a layer of experts.
    """
    host = machine.device(memory.HOST)
    drawn = sum(one.total_bytes for one in memories if machine.device(one.device_id).pool_id == host.pool_id)
    on_host = next((one for one in memories if one.device_id == host.id), None)
    if on_host is None or on_host.available_bytes is None:
        return memories, parameters
    left = min(
        on_host.available_bytes - on_host.reserve_bytes - on_host.total_bytes,
        pool_bytes(machine, host.pool_id) - on_host.reserve_bytes - drawn,
    )
    size = max(0, min(memory.PROMPT_CACHE_BYTES, left // CACHE_STEP * CACHE_STEP))
    with_cache = tuple(replace(one, other_bytes=one.other_bytes + size) if one is on_host else one for one in memories)
    limit = None if size == memory.PROMPT_CACHE_BYTES else size
    return with_cache, replace(parameters, cache_ram_bytes=limit)


def without_prompt_cache(memories: tuple[DeviceMemory, ...]) -> tuple[DeviceMemory, ...]:
    """The plan's memory without the server's prompt cache."""
    return tuple(replace(one, other_bytes=0) if one.device_id == memory.HOST else one for one in memories)


def usable_devices(machine: Machine, policy: Policy) -> tuple[Device, ...]:
    """The devices that the policy allows."""
    allowed = policy.devices
    return tuple(device for device in machine.devices if allowed is None or device.id in allowed)
