"""Whether there are GPUs, and whether the CPU sees all of their memory."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.finding import Finding, Fix
from app.units import bytes_text
from detectors.facts import Device, Machine


def check_any_gpu(machine: Machine) -> Iterator[Finding]:
    """No GPU is no fault, but it decides everything else."""
    if any(device.kind in ("igpu", "dgpu") for device in machine.devices):
        return
    faults = [problem.reason for problem in machine.problems if problem.source.startswith(("gpu:", "gpu_"))]
    container = machine.kernel.container if machine.kernel else None
    hint = " A container sees only the GPUs that it was given." if container else ""
    yield Finding(
        "gpu.none",
        "note",
        "No GPU that could be used was found",
        "; ".join(faults) or "neither NVML nor /sys/class/drm shows an NVIDIA or AMD GPU",
        "Everything runs on the CPU, at the speed of the system's memory." + hint,
    )


def check_visible_vram(machine: Machine) -> Iterator[Finding]:
    """Resizable BAR: the part of each discrete GPU's memory that the CPU can reach."""
    totals = {pool.id: pool.total_bytes for pool in machine.pools}
    for device in machine.devices:
        total = totals.get(device.pool_id)
        if device.kind == "dgpu" and device.visible_vram_bytes is not None and total is not None:
            yield _visible(machine, device, device.visible_vram_bytes, total)


def _visible(machine: Machine, device: Device, visible: int, total: int) -> Finding:
    evidence = f"{device.name} ({device.pci_bdf}): {bytes_text(min(visible, total))} of {bytes_text(total)} are visible"
    # NVIDIA's BAR is a power of two above the memory, AMD's figure is the memory itself.
    if visible >= total:
        title = f"All memory of {device.name} is visible to the CPU"
        return Finding("pcie.rebar", "good", title, evidence, "Uploads and transfers between GPUs need no detour.")
    virtual = machine.cpu is not None and machine.cpu.hypervisor is not None
    where = "the firmware of the host, and pass the whole BAR to the virtual machine" if virtual else "the firmware"
    verify = (
        "nvidia-smi -q -d MEMORY | grep -A1 BAR1"
        if device.vendor == "NVIDIA"
        else f"cat /sys/bus/pci/devices/{device.pci_bdf}/mem_info_vis_vram_total"
    )
    return Finding(
        "pcie.rebar",
        "costs",
        f"The CPU sees only {bytes_text(visible)} of {device.name}",
        evidence,
        "Without Resizable BAR, weights are uploaded in small windows and GPUs cannot reach each other's memory.",
        Fix(
            text=f"in {where}: enable Above 4G Decoding and Resizable BAR (Smart Access Memory), disable CSM",
            undo="disable Resizable BAR again in the same place",
            verify=verify,
            reboot=True,
        ),
    )
