"""The engine that a machine would have: for planning on a recorded machine, where nothing can be asked.

It speaks the newest llama.cpp dialect and lists every detected GPU under the backend that suits them all: one for
all of them, because devices of different backends copy through pageable memory (llama.cpp's scheduler).
"""

from __future__ import annotations

from pathlib import Path

from app.runtimes.base import Engine, EngineDevice
from app.runtimes.llama_devices import CPU_DEVICE
from detectors.facts import Device, Machine

_NATIVE = {"nvidia": "CUDA", "amd": "ROCm"}
_COMMON = "Vulkan"


def backend_for(gpus: tuple[Device, ...]) -> str | None:
    """The backend that serves all of these GPUs; `None` without any."""
    if not gpus:
        return None
    natives = {_NATIVE.get(gpu.vendor.lower(), _COMMON) for gpu in gpus}
    return natives.pop() if len(natives) == 1 else _COMMON


def assumed_engine(machine: Machine) -> Engine:
    """A llama-server with that backend; its devices are the detected ones, in the order of their PCI addresses."""
    gpus = tuple(
        sorted(
            (device for device in machine.devices if device.kind in ("igpu", "dgpu")),
            key=lambda device: (device.kind == "igpu", device.pci_bdf or device.id),
        )
    )
    backend = backend_for(gpus)
    devices = tuple(
        EngineDevice(f"{backend}{index}", f"{backend}{index}", gpu.name, _total_bytes(gpu, backend), None, gpu.id)
        for index, gpu in enumerate(gpus)
    )
    return Engine(
        runtime="llama_server",
        path=Path("llama-server"),
        origin="assumed",
        version="assumed: the newest llama.cpp",
        backends=("CPU", *((backend,) if backend else ())),
        devices=(CPU_DEVICE, *devices),
    )


def _total_bytes(gpu: Device, backend: str | None) -> int | None:
    """What that backend would use of an APU's memory: ROCm takes the larger of GTT and carve-out, Vulkan both."""
    if backend != "ROCm" or gpu.gtt_bytes is None or gpu.carveout_bytes is None or gpu.kind != "igpu":
        return None
    return max(gpu.gtt_bytes, gpu.carveout_bytes)
