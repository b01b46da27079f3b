"""An APU's memory as one pool: what the kernel has and what the firmware gave to the GPU alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from detectors.facts import Device, MemoryPool

_RAM = "ram"


def with_carveouts(
    pools: Sequence[MemoryPool], devices: Sequence[Device]
) -> tuple[tuple[MemoryPool, ...], tuple[Device, ...]]:
    """Add the carve-outs to the pool `ram`, and hold each of its devices to the part that it can use.

    The GPU reaches its carve-out and its GTT, which is a share of the kernel's memory; the processor reaches the
    kernel's memory alone. So neither may take the whole pool, and together they may not take more than it has.
    """
    ram = next((pool for pool in pools if pool.id == _RAM), None)
    gpus = [device for device in devices if device.pool_id == _RAM and device.carveout_bytes]
    if ram is None or not gpus:
        return tuple(pools), tuple(devices)
    carved = sum(gpu.carveout_bytes or 0 for gpu in gpus)
    free = sum((gpu.carveout_bytes or 0) - min(gpu.carveout_used_bytes or 0, gpu.carveout_bytes or 0) for gpu in gpus)
    whole = replace(
        ram,
        total_bytes=ram.total_bytes + carved,
        available_bytes=None if ram.available_bytes is None else ram.available_bytes + free,
        physical_bytes=None if ram.physical_bytes is None else ram.physical_bytes + carved,
        carveout_bytes=carved,
    )
    bounded = [_bounded(device, ram) if device.pool_id == _RAM else device for device in devices]
    return tuple(whole if pool is ram else pool for pool in pools), tuple(bounded)


def _bounded(device: Device, ram: MemoryPool) -> Device:
    """The device with its limit and what it could take now.

    Args:
        device: one that computes from `ram`.
        ram: the kernel's memory, without carve-outs.
    """
    if device.kind != "igpu":
        return replace(device, limit_bytes=ram.total_bytes, available_bytes=ram.available_bytes)
    carved, gtt = device.carveout_bytes or 0, min(device.gtt_bytes or 0, ram.total_bytes)
    gtt_free = max(0, gtt - (device.gtt_used_bytes or 0))
    if ram.available_bytes is not None:
        gtt_free = min(gtt_free, ram.available_bytes)
    free = carved - min(carved, device.carveout_used_bytes or 0) + gtt_free
    return replace(device, limit_bytes=carved + gtt, available_bytes=free)
