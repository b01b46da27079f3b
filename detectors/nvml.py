"""What is asked of NVIDIA's management library (NVML), as one JSON value: a recording of it answers like the library.

`{"init_error": code}`, or `{"driver": "570.86.10", "devices": [{"name": ..., "bus_id": ..., "memory": {"total": bytes,
"free": bytes}, ...}, ...], "peers": [{"from": 0, "to": 1, "read": 0, ...}]}`, the keys being those of the tables below.
In place of any answer, `{"error": code}` is the error that NVML gave. A missing answer is "not supported".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from detectors.host import NVML, Host

NOT_SUPPORTED = 3
_UNKNOWN = 999
_MOST_NVLINKS = 18  # NVML_NVLINK_MAX_LINKS

Answers = dict[str, object]
Library = Any
"""The module `pynvml`, which has no types, or what stands in for it in a test."""

_SYSTEM: dict[str, Callable[[Library], object]] = {
    "driver": lambda nvml: _text(nvml.nvmlSystemGetDriverVersion()),
    "cuda": lambda nvml: int(nvml.nvmlSystemGetCudaDriverVersion_v2()),
}
# Utilisation, traffic and clocks of the moment are left to telemetry: some of those questions take 20 ms each.
_DEVICE: dict[str, Callable[[Library, Any], object]] = {
    "name": lambda nvml, gpu: _text(nvml.nvmlDeviceGetName(gpu)),
    "bus_id": lambda nvml, gpu: _text(nvml.nvmlDeviceGetPciInfo(gpu).busId),
    "memory": lambda nvml, gpu: _memory(nvml, gpu),
    "bar1_bytes": lambda nvml, gpu: int(nvml.nvmlDeviceGetBAR1MemoryInfo(gpu).bar1Total),
    "compute_capability": lambda nvml, gpu: list(nvml.nvmlDeviceGetCudaComputeCapability(gpu)),
    "memory_clock_mhz": lambda nvml, gpu: int(nvml.nvmlDeviceGetMaxClockInfo(gpu, 2)),  # NVML_CLOCK_MEM
    "core_clock_mhz": lambda nvml, gpu: int(nvml.nvmlDeviceGetMaxClockInfo(gpu, 1)),  # NVML_CLOCK_SM
    "bus_width_bits": lambda nvml, gpu: int(nvml.nvmlDeviceGetMemoryBusWidth(gpu)),
    "cores": lambda nvml, gpu: int(nvml.nvmlDeviceGetNumGpuCores(gpu)),
    "pcie_gen": lambda nvml, gpu: int(nvml.nvmlDeviceGetCurrPcieLinkGeneration(gpu)),
    "pcie_width": lambda nvml, gpu: int(nvml.nvmlDeviceGetCurrPcieLinkWidth(gpu)),
    "pcie_max_gen": lambda nvml, gpu: int(nvml.nvmlDeviceGetMaxPcieLinkGeneration(gpu)),
    "pcie_max_width": lambda nvml, gpu: int(nvml.nvmlDeviceGetMaxPcieLinkWidth(gpu)),
    "pcie_card_gen": lambda nvml, gpu: int(nvml.nvmlDeviceGetGpuMaxPcieLinkGeneration(gpu)),
    "ecc": lambda nvml, gpu: bool(nvml.nvmlDeviceGetEccMode(gpu)[0]),
    "persistence": lambda nvml, gpu: bool(nvml.nvmlDeviceGetPersistenceMode(gpu)),
    "power_limit_mw": lambda nvml, gpu: int(nvml.nvmlDeviceGetEnforcedPowerLimit(gpu)),
    "power_default_mw": lambda nvml, gpu: int(nvml.nvmlDeviceGetPowerManagementDefaultLimit(gpu)),
    "power_max_mw": lambda nvml, gpu: int(nvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu)[1]),
    "nvlinks": lambda nvml, gpu: _nvlinks(nvml, gpu),
}
# nvmlGpuP2PCapsIndex_t by number: the binding's constant NVML_P2P_CAPS_INDEX_READ is a tuple by mistake.
_PEER = {"read": 0, "write": 1, "nvlink": 2}


def ask_nvml(nvml: Library, bus_ids: Iterable[str] | None = None) -> Answers:
    """Put every question to the library.

    Args:
        nvml: the module `pynvml`.
        bus_ids: the GPUs to ask about; all of them when `None`. One that sleeps must not be named: it would wake.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return {"init_error": _code(error)}
    try:
        answers: Answers = {key: _answer(nvml, question, nvml) for key, question in _SYSTEM.items()}
        handles = list(_handles(nvml, bus_ids))
        devices: list[object] = []
        for handle in handles:
            if isinstance(handle, dict):
                devices.append({"handle": handle})
            else:
                devices.append({key: _answer(nvml, ask, nvml, handle) for key, ask in _DEVICE.items()})
        answers["devices"] = devices
        answers["peers"] = [
            {"from": one, "to": two, **{key: _peer(nvml, handles[one], handles[two], at) for key, at in _PEER.items()}}
            for one in range(len(handles))
            for two in range(one + 1, len(handles))
        ]
        return answers
    finally:
        _answer(nvml, nvml.nvmlShutdown)


def answers_of(host: Host, bus_ids: Iterable[str] | None = None) -> Answers:
    """This machine's answers; `{"unavailable": why}` where the library cannot be asked."""
    found = host.ask("nvml", *(bus_ids or ()))
    return found if isinstance(found, dict) else {"unavailable": "its answers are not in the recording"}


def recorded_answers(host: Host) -> Answers | None:
    """A recorded host's answers; `None` where there is no recording. One that is damaged is an unknown error."""
    text = None if host.live else host.text(NVML)
    if text is None:
        return None
    import json  # not needed where there is no NVIDIA GPU

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"init_error": _UNKNOWN}


def _handles(nvml: Library, bus_ids: Iterable[str] | None) -> Iterable[Any]:
    """A handle, or the error in its place, for each GPU."""
    if bus_ids is not None:
        for bus_id in bus_ids:
            yield _answer(nvml, nvml.nvmlDeviceGetHandleByPciBusId, bus_id)
        return
    count = _answer(nvml, nvml.nvmlDeviceGetCount)
    for index in range(count if isinstance(count, int) else 0):
        yield _answer(nvml, nvml.nvmlDeviceGetHandleByIndex, index)


def _answer(nvml: Library, question: Callable[..., object], *arguments: object) -> object:
    try:
        return question(*arguments)
    except nvml.NVMLError as error:
        return {"error": _code(error)}
    except (AttributeError, TypeError):  # an older binding lacks a question, or asks it in another way
        return {"error": NOT_SUPPORTED}


def _code(error: Exception) -> int:
    code = getattr(error, "value", None)
    return code if isinstance(code, int) else _UNKNOWN


def _memory(nvml: Library, gpu: object) -> Answers:
    """Version 2 of the structure tells what the driver reserves apart from what programs use."""
    version = getattr(nvml, "nvmlMemory_v2", None)
    if version is not None:
        try:
            info = nvml.nvmlDeviceGetMemoryInfo(gpu, version=version)
            return {"total": int(info.total), "free": int(info.free), "reserved": int(info.reserved)}
        except (nvml.NVMLError, TypeError, AttributeError):
            pass  # drivers before 510 know version 1 only
    info = nvml.nvmlDeviceGetMemoryInfo(gpu)
    return {"total": int(info.total), "free": int(info.free)}


def _nvlinks(nvml: Library, gpu: object) -> int:
    """How many NVLinks are up."""
    active = 0
    for link in range(_MOST_NVLINKS):
        state = _answer(nvml, nvml.nvmlDeviceGetNvLinkState, gpu, link)
        if isinstance(state, dict):
            break
        active += state == 1
    return active


def _peer(nvml: Library, one: object, two: object, index: int) -> object:
    if isinstance(one, dict) or isinstance(two, dict):
        return {"error": NOT_SUPPORTED}
    return _answer(nvml, nvml.nvmlDeviceGetP2PStatus, one, two, index)


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
