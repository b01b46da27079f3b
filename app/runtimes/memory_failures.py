"""Which device refused how many bytes: read from what llama.cpp says when an allocation fails.

Every backend says it in words of its own, then ggml once more with the buffer type and the exact bytes:
`alloc_tensor_range: failed to allocate CUDA1 buffer of size 9665777664` for weights and KV cache,
`ggml_gallocr_reserve_n_impl: ...` for compute buffers. An abort in the middle of a graph has the backend's words
alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.runtimes.base import Engine
from app.units import MIB, bytes_text

_OVERCOME = re.compile(
    r"retrying without pipeline parallelism|llama_server: model loaded|main: model loaded|listening on http"
)
"""What failed before such a line was not what ended the engine."""

_BUFFER = re.compile(r"(alloc_tensor_range|ggml_gallocr_reserve_n\w*): failed to allocate (\S+) buffer of size (\d+)")
_ALLOCATING = re.compile(r"allocating (\d+\.\d+) MiB on device (\d+): (?:cuda|hip)Malloc failed: out of memory")
_VULKAN = re.compile(r"ggml_vulkan: Device memory allocation of size (\d+) failed")
_HOST = re.compile(r"ggml_aligned_malloc: insufficient memory \(attempted to allocate +(\d+\.\d+) MB\)")
_ABORTED = re.compile(r"(CUDA|ROCm|HIP|MUSA) error: out of memory")
_CURRENT = re.compile(r"current device: (\d+)")
_UNABLE = re.compile(r"unable to allocate (\S+) buffer")
_EXHAUSTED = re.compile(r"std::bad_alloc|Cannot allocate memory")
_OTHERWISE = re.compile(r"(?:cuda|hip)Malloc failed: out of memory|ErrorOutOfDeviceMemory")
_PARTS = (
    (re.compile(r"buffer for (?:kv|rs) cache"), "KV cache"),
    (re.compile(r"failed to allocate compute (?:pp |tg )?buffers"), "compute buffers"),
    (re.compile(r"unable to allocate \S+ buffer"), "weights"),
)
_FREE = re.compile(r"using device (\S+) .*- (\d+) MiB free")

_FAMILIES = {"CUDA": ("CUDA",), "ROCm": ("ROCm", "HIP"), "HIP": ("ROCm", "HIP"), "MUSA": ("MUSA",)}


@dataclass(frozen=True, slots=True)
class MemoryFailure:
    """One allocation that failed and ended the engine."""

    buffer: str | None = None
    """The buffer type, such as `CUDA0`, `RPC0[host:port]`, `CPU`; `None`: only a number was said, or nothing."""
    index: int | None = None
    """The device's number within its backend, where that is all that was said."""
    families: tuple[str, ...] = ("CUDA", "ROCm", "HIP")
    """What the names of devices of that backend begin with."""
    asked_bytes: int | None = None
    part: str | None = None
    """`weights`, `KV cache` or `compute buffers`; `None`: it does not say."""

    @property
    def place(self) -> str:
        """Where, for a person."""
        if self.buffer is not None:
            return "The machine" if self.buffer.startswith("CPU") else f"The device {self.buffer}"
        return "A device" if self.index is None else f"The GPU {self.index}"

    @property
    def sentence(self) -> str:
        """What happened, one sentence."""
        asked = "" if self.asked_bytes is None else bytes_text(self.asked_bytes)
        what = f"{asked} for the {self.part}" if asked and self.part else f"the {self.part}" if self.part else asked
        return f"{self.place} ran out of memory{f': {what} could not be had' if what else ''}."


def memory_failure(lines: Sequence[str]) -> MemoryFailure | None:
    """The allocation that ended an engine, by its last lines; `None`: it did not die of memory, as far as they say."""
    start = max((at + 1 for at, line in enumerate(lines) if _OVERCOME.search(line)), default=0)
    found: MemoryFailure | None = None
    part: str | None = None
    for line in lines[start:]:
        found = _read(line, found) or found
        part = next((name for pattern, name in _PARTS if pattern.search(line)), part)
    if found is None:
        return MemoryFailure(part=part) if part else None
    return replace(found, part=part or found.part)


def _read(line: str, before: MemoryFailure | None) -> MemoryFailure | None:
    """What one line says; `None`: nothing that is not known better from the lines before."""
    if match := _BUFFER.search(line):
        part = None if match[1] == "alloc_tensor_range" else "compute buffers"
        return MemoryFailure(match[2], asked_bytes=int(match[3]), part=part)
    if match := _ALLOCATING.search(line):
        return MemoryFailure(index=int(match[2]), asked_bytes=round(float(match[1]) * MIB))
    if match := _VULKAN.search(line):
        return MemoryFailure(families=("Vulkan",), asked_bytes=int(match[1]))
    if match := _HOST.search(line):
        return MemoryFailure("CPU", asked_bytes=round(float(match[1]) * MIB))
    if match := _ABORTED.search(line):
        return MemoryFailure(families=_FAMILIES[match[1]])
    if before is None:
        if match := _UNABLE.search(line):
            return MemoryFailure(match[1])
        if _OTHERWISE.search(line):
            return MemoryFailure(families=("CUDA", "ROCm", "HIP", "Vulkan"))
        return MemoryFailure("CPU") if _EXHAUSTED.search(line) else None
    if before.buffer is None and before.index is None and (match := _CURRENT.search(line)):
        return replace(before, index=int(match[1]))
    return None


def device_of(failure: MemoryFailure, engine: Engine) -> str | None:
    """The id of the device that refused; `None` where the log leaves that open."""
    if failure.buffer is not None:
        own = {device.buffer_type: device.device_id for device in engine.devices}
        own |= {device.name: device.device_id for device in engine.devices}
        # Host memory has many names: `CPU_REPACK`, `CUDA_Host`, `AMX`.
        return own.get(failure.buffer, "cpu")
    of_backend = [device for device in engine.devices if device.name.rstrip("0123456789") in failure.families]
    if failure.index is not None:
        of_backend = [device for device in of_backend if device.name[-1:] and _number(device.name) == failure.index]
    return of_backend[0].device_id if len(of_backend) == 1 else None


def _number(name: str) -> int | None:
    match = re.search(r"(\d+)$", name)
    return int(match[1]) if match else None


def free_bytes(lines: Sequence[str], engine: Engine) -> dict[str, int]:
    """What each device had free when the engine looked, by device id; needs `-lv 4` where the engine has `-fit`."""
    ids = {device.name: device.device_id for device in engine.devices if device.device_id}
    matches = filter(None, map(_FREE.search, lines))
    return {ids[match[1]]: int(match[2]) * MIB for match in matches if match[1] in ids}
