"""An APU's GPU computes from system memory, but only from as much as the kernel lets it map (GTT)."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case
from app.readiness.finding import Finding
from app.readiness.parameters import PLAN_MARGIN_BYTES, Solution, solution_fix, solve, target_bytes, version_of
from app.units import GIB, bytes_text
from detectors.facts import Device

# Below this nobody tunes an APU for large models (a machine sold with 32 GiB shows about 30).
_LEAST_MEMORY_BYTES = 29 * GIB
_HALF_TOLERANCE = 0.02
_TOO_MUCH_SHARE = 0.95
_LEAST_LEFT_BYTES = 4 * GIB
_GOOD_SHARE_OF_TARGET = 0.90
GTT_ONLY_SINCE, LARGER_OF_BOTH_SINCE = (6, 10, 0), (6, 15, 0)
"""From 6.10 on the compute driver took an APU's memory from GTT alone, however large the carve-out; since 6.15
(759e764f, also in Ubuntu's 6.14 OEM kernel) from the larger of the two."""
_CPU_OVER_GPU = 0.5
"""What a Strix Halo's CPU reads of the memory in the time its GPU reads all of it: 100 to 118 GB/s against 212 to 221
(published measurements)."""


def apus(case: Case) -> Iterator[Device]:
    """AMD's integrated GPUs that matter: with a plan, those that hold or could hold a part of it."""
    for device in case.machine.devices:
        if device.kind == "igpu" and device.vendor == "AMD" and (case.uses(device.id) or case.uses("cpu")):
            yield device


def wanted_bytes(case: Case, device: Device) -> int | None:
    """What the plan would have this GPU map: its own part and what lies on the CPU, in the same memory."""
    return None if case.plan is None else case.held_bytes(device.id) + case.host_bytes


def solution_of(case: Case, device: Device) -> Solution | None:
    """The parameters for this GPU and plan, never below what is granted now; `None`: the memory is not known."""
    memory, wanted, kernel = case.memory_bytes, wanted_bytes(case, device), case.kernel
    if memory is None or wanted is None:
        return None if memory is None else solve(kernel, memory)
    limit = (kernel.ttm_pages_limit or 0) * kernel.page_bytes if kernel is not None else 0
    granted = max(device.gtt_bytes or 0, limit)
    return solve(kernel, memory, max(wanted, granted - PLAN_MARGIN_BYTES))


def own_bytes(case: Case, device: Device) -> int:
    """What this GPU has without GTT: its carve-out, on kernels whose compute driver uses the larger of the two."""
    version = version_of(case.kernel.release) if case.kernel else (0, 0, 0)
    if GTT_ONLY_SINCE <= version < LARGER_OF_BOTH_SINCE:
        return 0
    return device.carveout_bytes or 0


def check_gtt(case: Case) -> Iterator[Finding]:
    """The GTT of each APU: against the plan's need, or against what the system can spare."""
    if case.wsl:
        return
    for device in apus(case):
        memory, gtt = case.memory_bytes, device.gtt_bytes
        if memory is None or gtt is None:
            missing = "MemTotal" if memory is None else "mem_info_gtt_total"
            yield Finding(
                "amd.gtt",
                "unknown",
                f"How much memory {device.name} may map is not known",
                f"{missing}: {case.why_unknown('memory', 'gpu_amd', 'gpu:', device.id)}",
                "It is the limit of what the GPU can compute from; by default it is half of the memory.",
            )
        elif case.plan is not None:
            yield _for_plan(case, device, gtt, memory)
        elif memory >= _LEAST_MEMORY_BYTES:
            yield _for_any(case, device, gtt, memory)


def _for_any(case: Case, device: Device, gtt: int, memory: int) -> Finding:
    evidence = _evidence(device, gtt, memory)
    if gtt / memory > _TOO_MUCH_SHARE or memory - gtt < _LEAST_LEFT_BYTES:
        return _too_much(case, gtt, memory, evidence)
    target, why = target_bytes(memory)
    own = own_bytes(case, device)
    if own >= target:
        title = f"The GPU has {bytes_text(own)} of its own; the {bytes_text(gtt)} that it may map hardly matter"
        reason = "The firmware carved out more than the system could spare: see the finding on the carve-out."
        return Finding("amd.gtt", "note", title, f"{evidence}; mem_info_vram_total is {bytes_text(own)}", reason)
    if gtt >= _GOOD_SHARE_OF_TARGET * target:
        title = f"The GPU may map {bytes_text(gtt)} of the system memory"
        return Finding("amd.gtt", "good", title, evidence, "Large models fit in what the GPU computes from.")
    default = _is_default(gtt, memory)
    return Finding(
        "amd.gtt.default" if default else "amd.gtt.low",
        "costs",
        f"The GPU may map only {bytes_text(gtt)}; {bytes_text(target)} is possible",
        evidence + (", the kernel's default of one half" if default else ""),
        f"A model above {bytes_text(gtt)} puts its rest on the CPU, which reads the same memory about half as fast as "
        f"the GPU (Strix Halo, published: 100 to 118 against 212 to 221 GB/s). {bytes_text(target)} is {why}.",
        solution_fix(solve(case.kernel, memory), case.kernel),
        (target - gtt) / target,
    )


def _for_plan(case: Case, device: Device, gtt: int, memory: int) -> Finding:
    wanted, room = wanted_bytes(case, device) or 0, max(gtt, own_bytes(case, device))
    held, evidence = case.held_bytes(device.id), _evidence(device, gtt, memory)
    target, _ = target_bytes(memory, wanted)
    if gtt / memory > _TOO_MUCH_SHARE or memory - gtt < _LEAST_LEFT_BYTES:
        return _too_much(case, gtt, memory, evidence)
    if wanted + PLAN_MARGIN_BYTES <= room:
        title = f"The plan's {bytes_text(wanted)} fit in the {bytes_text(room)} that the GPU may use"
        return Finding("amd.gtt", "good", title, evidence, "Nothing has to be left to the CPU for want of memory.")
    fix = solution_fix(solve(case.kernel, memory, wanted), case.kernel)
    if held > gtt + (device.carveout_bytes or 0):
        title = f"The plan puts {bytes_text(held)} on a GPU that may map {bytes_text(gtt)}"
        return Finding("amd.gtt.low", "blocks", title, evidence, "The engine fails while it loads the model.", fix, 1.0)
    left = max(0, wanted - gtt)
    if target <= gtt or left == 0:
        title = f"The plan's {bytes_text(wanted)} fill the {bytes_text(gtt)} that the GPU may map"
        reason = "A limit above leaves the system too little." if target <= gtt else "A longer context will not fit."
        return Finding("amd.gtt", "note", title, evidence, reason, fix if target > gtt else None)
    return Finding(
        "amd.gtt.default" if _is_default(gtt, memory) else "amd.gtt.low",
        "costs",
        f"The GPU may map {bytes_text(gtt)}; the plan wants {bytes_text(wanted)} there",
        evidence,
        f"{bytes_text(left)} stay on the CPU, which reads this memory about half as fast{_lost(case, device, left)}.",
        fix,
        _CPU_OVER_GPU * left / wanted if wanted else 0.0,
    )


def _lost(case: Case, device: Device, left: int) -> str:
    """What reading that much by the CPU costs a token, where model and both bandwidths are known."""
    cpu = next((d for d in case.machine.devices if d.kind == "cpu"), None)
    shape, plan = case.shape, case.plan
    if shape is None or plan is None or not shape.expert_count or not device.bandwidth_gbps:
        return ""
    if cpu is None or not cpu.bandwidth_gbps or cpu.bandwidth_gbps >= device.bandwidth_gbps:
        return ""
    read = left * shape.expert_used / shape.expert_count
    lost_ms = read / 1e6 * (1 / cpu.bandwidth_gbps - 1 / device.bandwidth_gbps)
    now = plan.decode.ms_per_token
    if not 0 < lost_ms < now:
        return ""
    return (
        f": about {1000 / (now - lost_ms):.1f} instead of {1000 / now:.1f} t/s "
        f"(estimated from {device.bandwidth_gbps:.0f} and {cpu.bandwidth_gbps:.0f} GB/s)"
    )


def _too_much(case: Case, gtt: int, memory: int, evidence: str) -> Finding:
    return Finding(
        "amd.gtt.toobig",
        "costs",
        f"The GPU may map {bytes_text(gtt)}: too little is left for the system",
        evidence,
        "A model that fills it leaves the system without memory; a 125 GiB machine given 124 was seen to freeze.",
        solution_fix(solve(case.kernel, memory), case.kernel),
        0.5,
    )


def _evidence(device: Device, gtt: int, memory: int) -> str:
    return (
        f"{device.name}: mem_info_gtt_total is {bytes_text(gtt)} of {bytes_text(memory)} system memory "
        f"({gtt / memory:.0%})"
    )


def _is_default(gtt: int, memory: int) -> bool:
    return abs(gtt / memory - 0.5) <= 0.5 * _HALF_TOLERANCE
