"""NVIDIA GPUs as their driver's management library (NVML) describes them.

NVML is only loaded where something speaks for an NVIDIA GPU; where nothing does, there being none is the answer. A GPU
that sleeps is not asked, for that would wake it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from detectors.drm import drm_cards
from detectors.facts import Device, Problem
from detectors.host import Host
from detectors.nvml import answers_of, recorded_answers
from detectors.nvml_devices import UNIFIED, describe
from detectors.pci import PciGpu, pci_gpus
from detectors.pcie import asleep, iommu_mode, numa_node
from detectors.registry import Found, detector

_VENDOR = 0x10DE
_LIBRARIES = tuple(
    f"{folder}/libnvidia-ml.so.1"
    for folder in (
        "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
        "/run/opengl-driver/lib", "/usr/lib/wsl/lib",
    )
)  # fmt: skip


@detector("gpu_nvidia")
def detect_nvidia(host: Host) -> Found:
    """Every NVIDIA GPU; a failure is a `Problem` only where there is reason to expect one."""
    on_bus = _on_bus(host)
    library = any(host.exists(path) for path in _LIBRARIES) or host.system() == "Windows"
    recording = recorded_answers(host)
    expected = (
        host.exists("/proc/driver/nvidia")
        or bool(on_bus)
        or recording is not None
        or (library and host.exists("/dev/dxg"))
    )
    if not expected and not library:
        return Found()
    sleeping = [gpu for gpu in on_bus if asleep(host, gpu.path)]
    slept = tuple(_sleeps(host, gpu) for gpu in sleeping)
    awake = [gpu for gpu in on_bus if gpu not in sleeping]
    if sleeping and not awake:
        return Found(problems=slept)
    answers = recording
    if answers is None:
        answers = answers_of(host, [gpu.bdf for gpu in awake] if sleeping else None)
    if "unavailable" in answers:
        failed = (Problem("gpu_nvidia", f"NVML cannot be asked: {answers['unavailable']}"),)
        known = tuple(device for gpu in awake if (device := _unified(host, gpu)))
        unread = _unread([gpu for gpu in awake if gpu.device_id not in UNIFIED])
        return Found(devices=known, problems=failed + unread + slept) if expected else Found()
    found = describe(answers, host)
    if not found.devices and not expected:
        return Found()
    shown = {device.id for device in found.devices}
    unread = _unread([gpu for gpu in awake if f"gpu:{gpu.bdf}" not in shown])
    return replace(found, problems=found.problems + unread + slept)


def _on_bus(host: Host) -> list[PciGpu]:
    """By the bus, and by the graphics layer where a recording lacks the bus."""
    found = {gpu.bdf: gpu for gpu in pci_gpus(host, _VENDOR)}
    for bdf, card in drm_cards(host, _VENDOR).items():
        found.setdefault(bdf, PciGpu(bdf, card.path, card.device, card.driver))
    return list(found.values())


def _unified(host: Host, gpu: PciGpu) -> Device | None:
    """A GPU that is known without NVML, as its memory is the system's."""
    known = UNIFIED.get(gpu.device_id or 0)
    if known is None:
        return None
    name, arch, gbps = known
    return Device(
        id=f"gpu:{gpu.bdf}",
        kind="igpu",
        name=name,
        vendor="NVIDIA",
        pool_id="ram",
        arch=arch,
        pci_bdf=gpu.bdf,
        bandwidth_gbps=gbps,
        bandwidth_basis="table",
        driver=gpu.driver,
        pci_id=f"{_VENDOR:04x}:{gpu.device_id:04x}",
        asleep=asleep(host, gpu.path),
        numa_node=numa_node(host, gpu.path),
        iommu=iommu_mode(host, gpu.path),
    )


def _sleeps(host: Host, gpu: PciGpu) -> Problem:
    information = host.text(f"/proc/driver/nvidia/gpus/{gpu.bdf}/information") or ""
    model = re.search(r"^Model:\s+(.+)$", information, re.MULTILINE)
    name = model[1].strip() if model else "an NVIDIA GPU"
    return Problem(f"gpu:{gpu.bdf}", f"{name} is left out: it is asleep, and asking for its memory would wake it")


def _unread(on_bus: list[PciGpu]) -> tuple[Problem, ...]:
    """One problem for each GPU that is on the bus but that NVML does not show; nouveau or vfio may hold it."""
    problems = []
    for gpu in on_bus:
        holder = f": the driver {gpu.driver} has it" if gpu.driver not in (None, "nvidia") else ""
        number = f" (10de:{gpu.device_id:04x})" if gpu.device_id is not None else ""
        problems.append(Problem(f"gpu:{gpu.bdf}", f"an NVIDIA GPU{number} that NVML does not show{holder}"))
    return tuple(problems)
