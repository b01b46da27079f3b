"""NVIDIA GPUs as their driver's management library (NVML) describes them.

NVML is only loaded where something speaks for an NVIDIA GPU; where nothing does, there being none is the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

from detectors.facts import Basis, Device, MemoryPool, Problem
from detectors.host import Host
from detectors.nvml import NOT_SUPPORTED, Handle, Nvml
from detectors.pci import PciGpu, normal_bdf, pci_gpus
from detectors.registry import Found, detector

Answer = TypeVar("Answer")

_VENDOR = 0x10DE
_LIBRARIES = tuple(
    f"{folder}/libnvidia-ml.so.1"
    for folder in (
        "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib",
        "/run/opengl-driver/lib", "/usr/lib/wsl/lib",
    )
)  # fmt: skip

# nvmlReturn_t of nvml.h; what a person can do about each is for readiness to say.
_ERRORS = {
    1: "UNINITIALIZED", 2: "INVALID_ARGUMENT", 3: "NOT_SUPPORTED", 4: "NO_PERMISSION", 6: "NOT_FOUND",
    9: "DRIVER_NOT_LOADED", 10: "TIMEOUT", 11: "IRQ_ISSUE", 12: "LIBRARY_NOT_FOUND", 13: "FUNCTION_NOT_FOUND",
    14: "CORRUPTED_INFOROM", 15: "GPU_IS_LOST", 16: "RESET_REQUIRED", 17: "OPERATING_SYSTEM",
    18: "LIB_RM_VERSION_MISMATCH", 20: "MEMORY", 999: "UNKNOWN",
}  # fmt: skip
_MEANINGS = {
    4: "this user may not ask the driver",
    9: "the kernel module nvidia is not loaded",
    12: "the driver's library libnvidia-ml.so.1 is not installed",
    13: "the driver is older than the library expects",
    15: "the GPU fell off the bus",
    18: "the driver's library and its kernel module are of different versions, as after an upgrade without a reboot",
    999: "the driver gives no reason; it is known to happen after a suspend",
}

# Memory that is the system's own does not answer for its clock and bus: GB10 has 256 bits of LPDDR5X-8533,
# 273 GB/s (NVIDIA DGX Spark data sheet).
_UNIFIED_GBPS = {"GB10": 273.0}


@detector("gpu_nvidia")
def detect_nvidia(host: Host) -> Found:
    """Every NVIDIA GPU; a failure is a `Problem` only where there is reason to expect one."""
    on_bus = pci_gpus(host, _VENDOR)
    driver = host.exists("/proc/driver/nvidia")
    library = any(host.exists(path) for path in _LIBRARIES)
    recorded = not host.live and host.exists("/nvml.json")
    expected = driver or bool(on_bus) or recorded or (library and host.exists("/dev/dxg"))
    if not expected and not library:
        return Found()
    nvml = host.nvml()
    if nvml is None:
        why = host.why("nvml") or "its answers are not in the recording"
        failed = (Problem("gpu_nvidia", f"NVML cannot be asked: {why}"),)
        return Found(problems=failed + _unread(on_bus)) if expected else Found()
    found = read_nvml(nvml)
    if not found.devices and not expected:
        return Found()
    shown = {device.id for device in found.devices}
    unread = _unread([gpu for gpu in on_bus if f"gpu:{gpu.bdf}" not in shown])
    return replace(found, problems=found.problems + unread)


def read_nvml(nvml: Nvml) -> Found:
    """What NVML says.

    Args:
        nvml: the `pynvml` module, or what answers in its place.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return Found(problems=(Problem("gpu_nvidia", f"NVML does not start: {_said(error)}"),))
    try:
        reader = _Reader(nvml)
        reader.read_all()
        return reader.found()
    finally:
        with suppress(nvml.NVMLError):  # everything was read by then
            nvml.nvmlShutdown()


def _said(error: Exception) -> str:
    code = getattr(error, "value", None)
    name = _ERRORS.get(code, "an unknown error") if isinstance(code, int) else type(error).__name__
    meaning = _MEANINGS.get(code, "") if isinstance(code, int) else str(error)
    return f"NVML_ERROR_{name} ({code})" + (f": {meaning}" if meaning else "")


def _unread(on_bus: list[PciGpu]) -> tuple[Problem, ...]:
    """One problem for each GPU that is on the bus but that NVML does not show; nouveau or vfio may hold it."""
    problems = []
    for gpu in on_bus:
        holder = f": the driver {gpu.driver} has it" if gpu.driver not in (None, "nvidia") else ""
        problems.append(Problem(f"gpu:{gpu.bdf}", f"an NVIDIA GPU that NVML does not show{holder}"))
    return tuple(problems)


class _Reader:
    """Asks one question after another; what a GPU does not support is no problem."""

    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self._devices: list[Device] = []
        self._pools: list[MemoryPool] = []
        self._problems: list[Problem] = []

    def found(self) -> Found:
        return Found(pools=tuple(self._pools), devices=tuple(self._devices), problems=tuple(self._problems))

    def read_all(self) -> None:
        nvml = self._nvml
        version = self._ask("gpu_nvidia", "the driver's version", nvml.nvmlSystemGetDriverVersion)
        count = self._ask("gpu_nvidia", "the number of GPUs", nvml.nvmlDeviceGetCount) or 0
        for index in range(count):
            source = f"gpu_nvidia {index}"
            handle = self._ask(source, "the GPU", partial(nvml.nvmlDeviceGetHandleByIndex, index))
            if handle is not None:
                self._read_gpu(source, handle, f"nvidia {_text(version)}" if version else "nvidia")

    def _read_gpu(self, source: str, handle: Handle, driver: str) -> None:
        nvml = self._nvml
        name = _text(self._ask(source, "its name", lambda: nvml.nvmlDeviceGetName(handle)) or "NVIDIA GPU")
        bus_id = self._ask(source, "its place on the bus", lambda: nvml.nvmlDeviceGetPciInfo(handle).busId)
        bdf = normal_bdf(_text(bus_id)) if bus_id is not None else None
        if bdf is None:
            self._problems.append(Problem(source, f"{name} is left out: its place on the PCI bus is not known"))
            return
        memory, failed = self._memory(f"gpu:{bdf}", handle)
        if failed:
            return
        unified = memory is None
        bandwidth, basis = self._bandwidth(f"gpu:{bdf}", handle, name)
        capability = self._ask(source, "its architecture", lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
        bar1 = None
        if not unified:
            bar1 = self._ask(source, "its BAR1", lambda: int(nvml.nvmlDeviceGetBAR1MemoryInfo(handle).bar1Total))
            total, free = memory or (0, None)
            self._pools.append(MemoryPool(f"vram:{bdf}", f"{name} VRAM", total, free))
        device = Device(
            id=f"gpu:{bdf}",
            kind="igpu" if unified else "dgpu",
            name=name,
            vendor="NVIDIA",
            pool_id="ram" if unified else f"vram:{bdf}",
            arch="sm_{}{}".format(*capability) if capability else None,
            pci_bdf=bdf,
            bandwidth_gbps=bandwidth,
            bandwidth_basis=basis,
            visible_vram_bytes=bar1,
            driver=driver,
        )
        self._devices.append(device)

    def _memory(self, source: str, handle: Handle) -> tuple[tuple[int, int | None] | None, bool]:
        """Total and free bytes, and whether the question failed. Neither: the GPU has no memory of its own.

        GB10 answers `NOT_SUPPORTED` or, with some drivers, a total of 0: it computes from the system's memory.
        """
        try:
            info = self._nvml.nvmlDeviceGetMemoryInfo(handle)
            total, free = int(info.total), int(info.free)
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) == NOT_SUPPORTED:
                return None, False
            self._problems.append(Problem(source, f"its memory is not known: {_said(error)}"))
            return None, True
        return ((total, free) if total > 0 else None), False

    def _bandwidth(self, source: str, handle: Handle, name: str) -> tuple[float | None, Basis]:
        """Twice the memory clock times the bus: NVML states half of the data rate for every kind of memory."""
        nvml = self._nvml
        clock = self._ask(source, "its clock", lambda: nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_MEM))
        width = self._ask(source, "its bus", lambda: nvml.nvmlDeviceGetMemoryBusWidth(handle))
        if clock and width:
            return 2 * clock * width / 8 / 1000, "driver"
        known = next((value for word, value in _UNIFIED_GBPS.items() if word in name), None)
        return known, "table" if known is not None else "estimated"

    def _ask(self, source: str, what: str, question: Callable[[], Answer]) -> Answer | None:
        try:
            return question()
        except self._nvml.NVMLError as error:
            if getattr(error, "value", None) != NOT_SUPPORTED:
                self._problems.append(Problem(source, f"{what} is not known: {_said(error)}"))
            return None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
