"""The part of NVML that is asked: as `pynvml` offers it, and as a recorded tree's `/nvml.json` answers it.

The file holds `{"init_error": code}` or `{"driver": "570.86.10", "devices": [{"name": ..., "bus_id": ...,
"memory": {"total": bytes, "free": bytes}, "bar1_bytes": ..., "compute_capability": [8, 9],
"memory_clock_mhz": ..., "bus_width_bits": ...}, ...]}`; an answer of `{"error": code}` raises that NVML error,
and a missing one raises `NOT_SUPPORTED`, as drivers do.
"""
# ruff: noqa: N802, D102  the names are pynvml's, and so is what they do

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

NOT_SUPPORTED = 3
_INVALID_ARGUMENT = 2
_UNKNOWN = 999

Handle = object


class MemoryInfo(Protocol):
    """`nvmlMemory_t`, in bytes."""

    @property
    def total(self) -> int: ...
    @property
    def free(self) -> int: ...


class Bar1Info(Protocol):
    """`nvmlBAR1Memory_t`, in bytes."""

    @property
    def bar1Total(self) -> int: ...


class PciInfo(Protocol):
    """`nvmlPciInfo_t`."""

    @property
    def busId(self) -> str | bytes: ...


class Nvml(Protocol):
    """The questions. Every one of them may raise `NVMLError`, which has the code as `value`."""

    @property
    def NVMLError(self) -> type[Exception]: ...
    @property
    def NVML_CLOCK_MEM(self) -> int: ...

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle: ...
    def nvmlDeviceGetName(self, handle: Handle) -> str | bytes: ...
    def nvmlDeviceGetPciInfo(self, handle: Handle) -> PciInfo: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> MemoryInfo: ...
    def nvmlDeviceGetBAR1MemoryInfo(self, handle: Handle) -> Bar1Info: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Handle) -> tuple[int, int]: ...
    def nvmlDeviceGetMaxClockInfo(self, handle: Handle, kind: int) -> int: ...
    def nvmlDeviceGetMemoryBusWidth(self, handle: Handle) -> int: ...


class RecordedError(Exception):
    """An NVML error by its code."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class _Record:
    """The recorded answers of one device, which also serve as its handle and as NVML's structures."""

    def __init__(self, answers: object) -> None:
        self._answers: Mapping[str, object] = answers if isinstance(answers, dict) else {}

    def number(self, key: str) -> int:
        value = self.value(key)
        if not isinstance(value, int):
            raise RecordedError(_INVALID_ARGUMENT)
        return value

    def text(self, key: str) -> str:
        return str(self.value(key))

    def value(self, key: str) -> object:
        value = self._answers.get(key)
        if isinstance(value, dict) and isinstance(value.get("error"), int):
            raise RecordedError(value["error"])
        if value is None:
            raise RecordedError(NOT_SUPPORTED)
        return value

    @property
    def total(self) -> int:
        return self.number("total")

    @property
    def free(self) -> int:
        return self.number("free")

    @property
    def bar1Total(self) -> int:
        return self.number("bar1_bytes")

    @property
    def busId(self) -> str:
        return self.text("bus_id")


class RecordedNvml:
    """Stands where the `pynvml` module would."""

    NVMLError: type[Exception] = RecordedError
    NVML_CLOCK_MEM = 2

    def __init__(self, answers: Mapping[str, object]) -> None:
        self._system = _Record(dict(answers))
        devices = answers.get("devices")
        self._devices = [_Record(answer) for answer in devices] if isinstance(devices, list) else []

    @classmethod
    def parse(cls, text: str) -> RecordedNvml:
        """Answers from JSON; what is no JSON object fails to start with NVML's unknown error."""
        import json

        try:
            answers = json.loads(text)
        except (ValueError, RecursionError):
            answers = None
        return cls(answers if isinstance(answers, dict) else {"init_error": _UNKNOWN})

    def nvmlInit(self) -> None:
        try:
            code = self._system.number("init_error")
        except RecordedError:
            return
        raise RecordedError(code)

    def nvmlShutdown(self) -> None:
        return None

    def nvmlSystemGetDriverVersion(self) -> str:
        return self._system.text("driver")

    def nvmlDeviceGetCount(self) -> int:
        return len(self._devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:
        return self._devices[index]

    def nvmlDeviceGetName(self, handle: Handle) -> str:
        return _record(handle).text("name")

    def nvmlDeviceGetPciInfo(self, handle: Handle) -> PciInfo:
        return _record(handle)

    def nvmlDeviceGetMemoryInfo(self, handle: Handle) -> MemoryInfo:
        return _Record(_record(handle).value("memory"))

    def nvmlDeviceGetBAR1MemoryInfo(self, handle: Handle) -> Bar1Info:
        return _record(handle)

    def nvmlDeviceGetCudaComputeCapability(self, handle: Handle) -> tuple[int, int]:
        value = _record(handle).value("compute_capability")
        if isinstance(value, list) and len(value) == 2:
            return int(value[0]), int(value[1])
        raise RecordedError(_INVALID_ARGUMENT)

    def nvmlDeviceGetMaxClockInfo(self, handle: Handle, kind: int) -> int:
        return _record(handle).number("memory_clock_mhz" if kind == self.NVML_CLOCK_MEM else "clock_mhz")

    def nvmlDeviceGetMemoryBusWidth(self, handle: Handle) -> int:
        return _record(handle).number("bus_width_bits")


def _record(handle: Handle) -> _Record:
    if not isinstance(handle, _Record):
        raise RecordedError(_INVALID_ARGUMENT)
    return handle
