"""NVML's numbers in words."""

from __future__ import annotations

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
# nvmlGpuP2PStatus_t of nvml.h.
_PEER_STATES = {
    0: "peer-to-peer is granted", 1: "the chipset does not support it", 2: "the GPU does not support it",
    3: "the topology does not support it", 4: "it is disabled by a registry key", 5: "not supported", 6: "unknown",
}  # fmt: skip


def said(code: object) -> str:
    """An error by its name and, where it is known, its meaning."""
    if not isinstance(code, int):
        return "an error without a number"
    meaning = _MEANINGS.get(code, "")
    return f"NVML_ERROR_{_ERRORS.get(code, 'an unknown error')} ({code})" + (f": {meaning}" if meaning else "")


def peer_state(state: int) -> str:
    """What NVML makes of a pair of GPUs."""
    return _PEER_STATES.get(state, f"state {state}")
