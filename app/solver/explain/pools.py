"""What a plan takes of each memory: devices that share a pool are one entry."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.solver.plan import DeviceMemory
from detectors.facts import Basis, Machine


@dataclass(frozen=True, slots=True)
class PoolUse:
    """One memory: what the plan puts there, what others use, what is left."""

    pool_id: str
    label: str
    """`RTX 4090`, or `RAM` where the CPU draws on it."""
    devices: tuple[str, ...]
    """Ids of the devices of the plan that draw on it."""
    total_bytes: int
    used_by_others_bytes: int | None
    """In use when the plan was made; `None` where the system does not say."""
    weight_bytes: int
    kv_bytes: int
    compute_bytes: int
    other_bytes: int
    """The engine's own: its context on a GPU, its prompt cache."""
    reserve_bytes: int
    """Left free on purpose."""
    spare_bytes: int
    """What could still be used, by the tightest bound: the pool's, a device's own limit, or the person's."""
    basis: Basis

    @property
    def plan_bytes(self) -> int:
        """All that the plan puts there."""
        return self.weight_bytes + self.kv_bytes + self.compute_bytes + self.other_bytes


def pool_uses(machine: Machine, memory: Iterable[DeviceMemory]) -> tuple[PoolUse, ...]:
    """The pools of a plan, in the order of its devices."""
    members: dict[str, list[DeviceMemory]] = {}
    for one in memory:
        members.setdefault(machine.device(one.device_id).pool_id, []).append(one)
    return tuple(_pool_use(machine, pool_id, held) for pool_id, held in members.items())


def _pool_use(machine: Machine, pool_id: str, held: list[DeviceMemory]) -> PoolUse:
    pool = machine.pool(pool_id)
    devices = [machine.device(one.device_id) for one in held]
    free = pool.total_bytes if pool.available_bytes is None else pool.available_bytes
    reserve = max(one.reserve_bytes for one in held)
    bounds = [free - reserve - sum(one.total_bytes for one in held)]
    bounds += [
        one.available_bytes - one.reserve_bytes - one.total_bytes for one in held if one.available_bytes is not None
    ]
    return PoolUse(
        pool_id=pool_id,
        label="RAM" if any(device.kind == "cpu" for device in devices) else machine.label(devices[0].id),
        devices=tuple(device.id for device in devices),
        total_bytes=pool.total_bytes,
        used_by_others_bytes=None if pool.available_bytes is None else pool.total_bytes - pool.available_bytes,
        weight_bytes=sum(one.weight_bytes for one in held),
        kv_bytes=sum(one.kv_bytes for one in held),
        compute_bytes=sum(one.compute_bytes for one in held),
        other_bytes=sum(one.other_bytes for one in held),
        reserve_bytes=reserve,
        spare_bytes=min(bounds),
        basis="measured" if all(one.basis == "measured" for one in held) else "estimated",
    )
