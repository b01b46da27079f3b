"""Load, memory, power and temperature of an NVIDIA GPU, by NVML."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.telemetry.sample import DeviceSample
from detectors.host import Host

_TEMPERATURE_GPU = 0  # NVML_TEMPERATURE_GPU


class NvidiaSource:
    """One GPU. NVML is started at the first reading: that may take a while where no process keeps the driver awake.

    Args:
        device_id: how the machine names it.
        bdf: its PCI address, which is how NVML finds it whatever the order of the GPUs.
        host: whose NVML is asked.
    """

    def __init__(self, device_id: str, bdf: str, host: Host) -> None:
        self._device_id = device_id
        self._bdf = bdf
        self._host = host
        self._nvml: Any = None
        self._handle: object = None
        self._reason = ""

    def read(self) -> DeviceSample:
        """What NVML says now; a value that the GPU does not report is `None`."""
        if self._handle is None and not self._reason:
            self._open()
        if self._handle is None:
            return DeviceSample(self._device_id, reason=self._reason)
        nvml, handle, missing = self._nvml, self._handle, dict[str, str]()

        def ask(what: str, question: Callable[[], float]) -> float | None:
            try:
                return question()
            except nvml.NVMLError as error:
                missing[what] = str(error)
                return None

        load = ask("load", lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
        power_mw = ask("power", lambda: nvml.nvmlDeviceGetPowerUsage(handle))
        temperature_c = ask("temperature", lambda: nvml.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU))
        total = ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total)
        used = ask("memory", lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used)
        if total == 0:  # GB10 with some drivers: it has no memory of its own
            total = used = None
            missing["memory"] = "it is the system's, see RAM"
        return DeviceSample(
            self._device_id,
            load=load,
            used_bytes=None if used is None else int(used),
            total_bytes=None if total is None else int(total),
            power_w=None if power_mw is None else power_mw / 1000,
            temperature_c=temperature_c,
            reason="; ".join(f"{what}: {why}" for what, why in missing.items()),
        )

    def close(self) -> None:
        """Let NVML go; it counts its users."""
        if self._handle is not None:
            self._handle = None
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return

    def _open(self) -> None:
        nvml: Any = self._host.nvml()
        if nvml is None:
            self._reason = f"NVML: {self._host.why('nvml') or 'absent'}"
            return
        try:
            nvml.nvmlInit()
            self._handle = nvml.nvmlDeviceGetHandleByPciBusId(self._bdf)
            self._nvml = nvml
        except nvml.NVMLError as error:
            self._reason = f"NVML: {error}"
