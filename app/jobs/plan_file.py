"""A plan that was saved by `moetune plan --json`, taken up again as it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from app.errors import UsageError
from app.jobs.explaining import SCHEMA, scene_of
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.jsonform import rebuilt
from app.solver.model import Workload
from app.solver.plan import Parameters, Placement
from app.solver.prediction import predict_decode

_MOST_BYTES = 32 << 20
"""A saved plan is about 1 MB."""


def saved_plan(name: str) -> Mapping[str, Any] | None:
    """What such a file holds; `None` where it is none.

    Raises:
        UsageError: it is one of another version.
    """
    path = Path(name)
    try:
        if path.suffix != ".json" or path.stat().st_size > _MOST_BYTES:
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    schema = data.get("schema") if isinstance(data, dict) else None
    if not str(schema).startswith("moetune.plan/"):
        return None
    if schema != SCHEMA:
        raise UsageError(f"{path} is a plan of the form {schema}; this moetune knows {SCHEMA}.", hint="Plan again.")
    found: Mapping[str, Any] = data
    return found


def planned_as_saved(name: str, data: Mapping[str, Any], *, engine: str | None = None) -> PlannedRun:
    """That placement and those parameters on this machine, with its present devices and constants.

    Args:
        name: of the file, for a person.
        data: what `saved_plan` read.
        engine: to use in place of the plan's own.

    Raises:
        UsageError: the plan is for KTransformers, for another machine or for another model, or the file is damaged.
    """
    try:
        asked = dict(data["request"])
        workload = rebuilt(Workload, asked.pop("workload"))
        pairs = {name: tuple(asked[name]) for name in ("rpc", "devices")}
        limits = tuple((str(device), int(size)) for device, size in asked["limits"])
        request = rebuilt(PlanRequest, {**asked, **pairs, "workload": workload, "limits": limits, "runtimes": None})
        parts = data["plan"]["placement"]
        placement = rebuilt(Placement, parts | {name: tuple(parts[name]) for name in ("attention", "experts")})
        is_kt = data["plan"]["parameters"].get("kt") is not None
        parameters = rebuilt(Parameters, data["plan"]["parameters"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{name} is damaged: {error}.", hint="Plan again.") from error
    if is_kt:
        raise UsageError(
            f"{name} is a plan for KTransformers, which moetune does not start.",
            hint="Start it, then measure it with `moetune bench --url`.",
        )
    if request.capture is not None:
        raise UsageError(f"{name} is for the machine captured in {request.capture}.", hint="Plan on this machine.")
    planned = make_plan(replace(request, engine=engine or request.engine, runtimes=("llama.cpp",)))
    here = {device.id for device in planned.machine.devices}
    if not set(placement.devices) <= here or len(placement.attention) != len(planned.plan.placement.attention):
        raise UsageError(f"{name} is for another machine or another model file.", hint="Plan again.")
    plan = replace(planned.plan, placement=placement, parameters=parameters)
    planned = replace(planned, plan=plan)
    decode = predict_decode(scene_of(planned), placement, parameters, context=plan.decode.at_context)
    return replace(planned, plan=replace(plan, decode=decode))
