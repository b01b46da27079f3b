"""What llama.cpp says while it loads, as numbers. Needs `-lv 4` where the engine has `-fit`.

The lines look alike in every version: `load_tensors:  CUDA0 model buffer size =  2542.13 MiB`. KV caches come in
several pieces (full and sliding-window layers), compute buffers may be reserved more than once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from app.runtimes.base import Engine, LoadReport
from app.runtimes.failures import Failure, classify, explain_failure
from app.units import MIB

__all__ = ["BreakdownRow", "Failure", "breakdown", "by_device", "classify", "explain_failure", "parse"]

_BUFFER = re.compile(r"[:\s](\S+)\s+(model|KV|RS|compute) buffer size\s*=\s*([0-9.]+)\s*MiB")
_BREAKDOWN = re.compile(
    r"\|\s+- (?P<name>\S+)(?: \((?P<description>.*)\))?\s+\|"
    r"\s*(?:(?P<total>\d+) =\s+(?P<free>\d+) \+ \(\s*)?(?P<self>\d+) =\s+(?P<model>\d+) \+\s+(?P<context>\d+)"
    r" \+\s+(?P<compute>\d+)\)?(?:\s+\+\s+(?P<unaccounted>-?\d+))?\s+\|"
)
"""A row of the breakdown that llama.cpp prints when it ends: a device with its total, or a buffer type without."""
_SPLITS = re.compile(r"graph\b.*\bsplits\s*=\s*(\d+)(?:[^,/]*/\s*(\d+))?")


@dataclass(frozen=True, slots=True)
class BreakdownRow:
    """One row of the engine's account of its memory at its exit, in bytes."""

    name: str
    """A device's name, or a buffer type that is none's: `Host`, `CPU_REPACK`."""
    model_bytes: int
    context_bytes: int
    compute_bytes: int
    total_bytes: int | None = None
    free_bytes: int | None = None
    unaccounted_bytes: int | None = None
    """What is used and neither free nor the engine's own: other programs, the driver, fragments."""


def breakdown(lines: Iterable[str]) -> tuple[BreakdownRow, ...]:
    """The last breakdown in a log; empty where there is none (it needs `-lv 4`)."""
    rows: list[BreakdownRow] = []
    for line in lines:
        if "memory breakdown [MiB]" in line:
            rows.clear()
        elif "memory_breakdown_print" in line and (match := _BREAKDOWN.search(line)):
            size = {name: None if text is None else int(text) * MIB for name, text in match.groupdict().items()
                    if name not in ("name", "description")}  # fmt: skip
            rows.append(
                BreakdownRow(
                    match["name"],
                    size["model"] or 0,
                    size["context"] or 0,
                    size["compute"] or 0,
                    size["total"],
                    size["free"],
                    size["unaccounted"],
                )
            )
    return tuple(rows)


def parse(lines: Iterable[str]) -> LoadReport:
    """Add up the buffers that a log reports. An empty report means that the log says nothing about them."""
    weight: dict[str, int] = {}
    kv: dict[str, int] = {}
    compute: dict[str, int] = {}
    splits: int | None = None
    for line in lines:
        if match := _BUFFER.search(line):
            name, kind, size = match[1], match[2], round(float(match[3]) * MIB)
            if kind == "compute":
                compute[name] = size
            else:
                target = weight if kind == "model" else kv
                target[name] = target.get(name, 0) + size
        elif "splits" in line and (match := _SPLITS.search(line)):
            # `splits = 74 (with bs=512), 38 (with bs=1)` and `splits = 74 / 38`: the second is token generation.
            second = match[2] or _with_batch_of_one(line)
            splits = int(second or match[1])
    return LoadReport(weight, kv, compute, splits)


def _with_batch_of_one(line: str) -> str | None:
    match = re.search(r"(\d+) \(with bs=1\)", line)
    return match[1] if match else None


def by_device(buffer_bytes: dict[str, int], engine: Engine) -> dict[str, int]:
    """Bytes by device id instead of by buffer type.

    What is no device's own buffer type is host memory under another name: `CPU_Mapped`, `CPU_REPACK`, `AMX`,
    `CUDA_Host`.
    """
    ids = {device.buffer_type: device.device_id or device.name for device in engine.devices}
    found: dict[str, int] = {}
    for name, size in buffer_bytes.items():
        owner = ids.get(name, "cpu")
        found[owner] = found.get(owner, 0) + size
    return found
