"""Load of the CPU and use of the RAM, of the host as a whole."""

from __future__ import annotations

import psutil

from app.telemetry.sample import DeviceSample


class CpuSource:
    """The host's processors and memory, by psutil.

    Args:
        device_id: how the machine names the CPU.
    """

    def __init__(self, device_id: str) -> None:
        self._device_id = device_id
        psutil.cpu_percent(None)  # the first answer is a meaningless zero; from here on: since the last call

    def read(self) -> DeviceSample:
        """Load since the last reading; memory that is not available to others counts as used."""
        memory = psutil.virtual_memory()
        return DeviceSample(
            self._device_id,
            load=psutil.cpu_percent(None) / 100,
            used_bytes=memory.total - memory.available,
            total_bytes=memory.total,
        )

    def close(self) -> None:
        """Nothing was taken."""


class ProcessMemory:
    """The resident memory of one process; a later process of the same pid is not taken for it.

    Args:
        pid: which one.
    """

    def __init__(self, pid: int) -> None:
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.Error:
            self._process = None

    def resident_bytes(self) -> int | None:
        """Resident set size, mapped model files included; `None` when the process has gone."""
        try:
            if self._process is None or not self._process.is_running():
                return None
            return int(self._process.memory_info().rss)
        except psutil.Error:
            return None
