"""What a benchmark is kept with: the machine's state, the configuration, and what was predicted of each point."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import cast

from app.bench_store import Facts, Point
from app.jobs.measuring import BUSY_SHARE, BUSY_WATCH_S
from app.jobs.planning import PlannedRun
from app.jobs.sweeping import Wanted
from app.jsonform import plain
from app.solver.explain import placement_text
from app.solver.plan import Parameters, Plan
from app.solver.prediction import predict_decode, predict_prefill
from app.solver.scene import Scene
from app.tuner.conditions import conditions_of
from detectors.facts import Machine

_SIZED = ("context", "parallel", "cache_ram_bytes", "draft_tokens")
"""Parameters that the tool is not given as the plan has them: they do not tell configurations apart."""


def expected_point(scene: Scene, plan: Plan, one: Wanted) -> Point:
    """The point with what is predicted of it alone."""
    depth = one.prompt_tokens + one.generated // 2
    decode = predict_decode(scene, plan.placement, plan.parameters, context=depth, batch=one.batch)
    prefill = None
    if one.prompt_tokens:
        prefill = predict_prefill(scene, plan.placement, plan.parameters, prompt_tokens=one.prompt_tokens).tokens_per_s
    return Point(
        one.context, one.batch, one.prompt_tokens, one.generated, None, None,
        prefill, decode.tokens_per_s, decode.low, decode.high,
    )  # fmt: skip


def seconds_of(point: Point) -> float:
    """What a point should take."""
    prefill_s = point.batch * point.prompt_tokens / (point.predicted_prefill_tps or 1e9)
    return prefill_s + point.batch * point.generated / (point.predicted_decode_tps or 1e9)


def facts_of(planned: PlannedRun) -> Facts:
    """What must be the same for two sweeps to measure the same thing, and what a reader wants to know besides."""
    plan, machine = planned.plan, planned.machine
    path = Path(plan.model_path).resolve()
    return {
        "state": state_of(planned),
        "model_path": str(path),
        "model_bytes": planned.shape.file_bytes,
        "placement": plain(plan.placement),
        "placement_text": placement_text(machine, plan.placement, planned.shape),
        "parameters": _told(plan.parameters),
        "plan_context": plan.parameters.context,
    }


def state_of(planned: PlannedRun) -> Facts:
    """Kernel, drivers, engine build and power state."""
    kernel = planned.machine.kernel
    conditions = cast("Facts", plain(conditions_of(planned.machine, planned.engine)))
    return {"kernel": kernel.release if kernel else None, **conditions}


def _told(parameters: Parameters) -> Facts:
    return {name: value for name, value in cast("Facts", plain(parameters)).items() if name not in _SIZED}


def key_of(facts: Facts, tool: str) -> str:
    """Tells configurations apart; what only describes them does not count."""
    counted = {name: value for name, value in facts.items() if name not in ("placement_text", "plan_context")}
    return hashlib.sha256(json.dumps([tool, counted], sort_keys=True).encode()).hexdigest()[:16]


def busy_note(machine: Machine) -> tuple[str, ...]:
    """Whether others use the processor: what is measured beside them is theirs, too."""
    from app.telemetry.contention import Contention

    cores = machine.cpu.logical_cpus if machine.cpu else 1
    watch = Contention(None)
    time.sleep(BUSY_WATCH_S)
    others = watch.other_cores() or 0.0
    if others <= BUSY_SHARE * cores:
        return ()
    return (
        f"When the sweep began, other programs kept {others:.1f} of {cores} processors busy: it is slower by that.",
    )
