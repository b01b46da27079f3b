"""Detected devices with the figures that no driver states: bandwidth and compute by PCI ids, or by name."""

from __future__ import annotations

from dataclasses import replace

from app.hardware.cpus import find_cpu
from app.hardware.gpus import find_gpu, gpu_by_pci
from app.hardware.tables import GpuModel
from detectors.facts import Device, Machine

_GIB = 1 << 30
ANY_MEMORY_BITS = 128
"""A processor with a bus of this width takes memory of several speeds; wider ones are sold with one."""


def with_known_figures(machine: Machine) -> Machine:
    """The machine with a bandwidth and FP16 TFLOPS for each GPU that lacks them and that the table knows.

    What a driver says is never replaced. A GPU in the system's memory has the bandwidth of the memory bus where that
    is known and the processor takes memory of several speeds.
    """
    devices = tuple(_filled(machine, device) for device in machine.devices)
    return machine if devices == machine.devices else replace(machine, devices=devices)


def known_gpu(machine: Machine, device: Device) -> GpuModel | None:
    """The table's row for a detected GPU: by PCI ids and size, by its name, or as the one inside the processor."""
    total = next((pool.total_bytes for pool in machine.pools if pool.id == device.pool_id), None)
    vram = total if device.kind == "dgpu" else None
    found = gpu_by_pci(device.pci_id, device.revision, vram)
    if found is None:
        found = find_gpu(device.name, vram_gib=None if vram is None else vram / _GIB)
    if found is None and device.kind == "igpu" and machine.cpu is not None:
        cpu = find_cpu(machine.cpu.model)
        found = find_gpu(cpu.gpu) if cpu is not None and cpu.gpu and cpu.vendor in device.vendor else None
    return found if found is None or (found.kind == "igpu") == (device.kind == "igpu") else None


def _filled(machine: Machine, device: Device) -> Device:
    if device.kind not in ("dgpu", "igpu") or (device.bandwidth_gbps is not None and device.fp16_tflops is not None):
        return device
    model = known_gpu(machine, device)
    if model is None:
        return device
    filled = device
    if device.fp16_tflops is None:
        filled = replace(filled, fp16_tflops=model.fp16_tflops)
    if device.bandwidth_gbps is None:
        bus = machine.memory.bus if machine.memory is not None else None
        if device.kind == "igpu" and bus is not None and bus.theoretical_gbps and (bus.bits or 0) <= ANY_MEMORY_BITS:
            return replace(filled, bandwidth_gbps=bus.theoretical_gbps, bandwidth_basis=bus.basis)
        filled = replace(filled, bandwidth_gbps=model.bandwidth_gbps, bandwidth_basis="table")
    return filled
