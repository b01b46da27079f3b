"""An APU's GPU computes from system memory, but only from as much as the kernel lets it map (GTT)."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.finding import Finding
from app.readiness.ttm import limit_fix, target_bytes
from app.units import GIB, bytes_text
from detectors.facts import Device, Machine

# Below this nobody tunes an APU for large models (a machine sold with 32 GiB shows about 30).
_LEAST_MEMORY_BYTES = 29 * GIB
_HALF_TOLERANCE = 0.02
_TOO_MUCH_SHARE = 0.95
_LEAST_LEFT_BYTES = 4 * GIB
_GOOD_SHARE_OF_TARGET = 0.90


def check_gtt(machine: Machine) -> Iterator[Finding]:
    """The GTT of each APU, against the system's memory."""
    memory = next((pool.physical_bytes or pool.total_bytes for pool in machine.pools if pool.id == "ram"), None)
    if memory is None or memory < _LEAST_MEMORY_BYTES:
        return
    for device in machine.devices:
        if device.kind == "igpu" and device.gtt_bytes is not None:
            yield _judge(machine, device, device.gtt_bytes, memory)


def _judge(machine: Machine, device: Device, gtt: int, memory: int) -> Finding:
    target = target_bytes(memory)
    share = gtt / memory
    evidence = (
        f"{device.name}: mem_info_gtt_total is {bytes_text(gtt)} of {bytes_text(memory)} system memory ({share:.0%})"
    )
    if share > _TOO_MUCH_SHARE or memory - gtt < _LEAST_LEFT_BYTES:
        return Finding(
            "amd.gtt.toobig",
            "costs",
            f"The GPU may map {bytes_text(gtt)}: too little is left for the system",
            evidence,
            "A model that fills it leaves the system without memory; such machines have been seen to freeze.",
            limit_fix(machine.kernel, target),
        )
    if gtt >= _GOOD_SHARE_OF_TARGET * target:
        title = f"The GPU may map {bytes_text(gtt)} of the system memory"
        return Finding("amd.gtt", "good", title, evidence, "Large models fit in what the GPU computes from.")
    default = abs(share - 0.5) <= 0.5 * _HALF_TOLERANCE
    return Finding(
        "amd.gtt.default" if default else "amd.gtt.low",
        "costs",
        f"The GPU may map only {bytes_text(gtt)}; {bytes_text(target)} is possible",
        evidence + (", the kernel's default of one half" if default else ""),
        "What does not fit there runs on the CPU, which reads the same memory more slowly (Strix Halo: half as fast).",
        limit_fix(machine.kernel, target),
    )
