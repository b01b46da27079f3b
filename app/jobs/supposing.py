"""What if the machine were another? Both are planned, and what changes is compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from app.errors import NoFitError
from app.jobs.checking import known_machine
from app.jobs.explaining import scene_of
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.solver.explain import placement_text
from app.solver.explain.pools import pool_uses
from app.solver.model import Policy, Workload
from app.solver.plan import Plan
from app.solver.prediction import predict_decode
from app.solver.scene import Scene
from app.solver.search import fits
from app.units import bytes_text, count_text, rate_text
from detectors.facts import Machine

SAME_DEVICES_RANGE = (0.77, 1.25)
"""Nine in ten ratios of two configurations of one machine lie between these times what is predicted for them: the
range that is left of a machine after one measured row of another configuration of it. fit-2026-11, leave-one-out."""

SCHEMA = "moetune.what-if/1"
SAME = 0.95
"""Decode speeds closer than this are not told apart: the search itself takes placements within 3 % for equal."""

CONTEXT_STEP = 4096
SHOWN_DEPTHS = (0, 32768)


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of both plans."""

    name: str
    before: float | None
    """`None`: there is no plan, or it does not say."""
    after: float | None
    unit: str
    before_text: str
    after_text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A machine's plan, or why there is none."""

    plan: Plan | None
    placement: str
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What `moetune plan --what-if` answers with."""

    schema: str
    """`moetune.what-if/1`: the number rises when a field changes its meaning or goes."""
    words: tuple[str, ...]
    assumed: tuple[str, ...]
    """What was taken for granted about the changed machine, one sentence each."""
    before: Outcome
    after: Outcome
    rows: tuple[Compared, ...]
    gain: float | None
    """Decode after over decode before; `None` where one of them is not."""
    gain_low: float | None
    gain_high: float | None
    verdict: str


def suppose(
    request: PlanRequest, words: Sequence[str], change: Callable[..., tuple[Machine, tuple[str, ...]]]
) -> WhatIf:
    """Plan for the machine as it is and as it would be.

    Args:
        request: what is asked of both.
        words: the changes, `gpu=RTX 5090`, `ram=192`.
        change: turns a machine and the words into another machine and what was assumed.

    Raises:
        MoetuneError: the words cannot be understood, or the model cannot be read.
    """
    machine = known_machine(request.capture)
    changed, assumed = change(machine, tuple(words))
    if request.capture is None:
        # No engine here knows the supposed devices, and no calibration is theirs. Both are planned alike, so that what
        # is compared is the machines: as if they were captured ones.
        request = replace(request, capture="supposed", engine=None, rpc=())
        assumed = (*assumed, "The newest llama.cpp on both, and constants from published measurements")
    before, why_before = _planned(request, machine)
    after, why_after = _planned(request, changed)
    gain = _gain(before, after)
    low, high = _gain_range(before, after)
    rows = _rows(request, before, after)
    outcomes = (_outcome(before, why_before), _outcome(after, why_after))
    return WhatIf(
        schema=SCHEMA,
        words=tuple(words),
        assumed=tuple(assumed),
        before=outcomes[0],
        after=outcomes[1],
        rows=rows,
        gain=gain,
        gain_low=None if gain is None else gain * low,
        gain_high=None if gain is None else gain * high,
        verdict=_verdict(outcomes, gain, (low, high)),
    )


def _planned(request: PlanRequest, machine: Machine) -> tuple[PlannedRun | None, str]:
    try:
        return make_plan(request, machine), ""
    except NoFitError as error:
        return None, error.message


def _outcome(planned: PlannedRun | None, why: str) -> Outcome:
    if planned is None:
        return Outcome(None, "", why)
    return Outcome(planned.plan, placement_text(planned.machine, planned.plan.placement, planned.shape))


def _gain(before: PlannedRun | None, after: PlannedRun | None) -> float | None:
    if before is None or after is None:
        return None
    return after.plan.decode.tokens_per_s / before.plan.decode.tokens_per_s


def _gain_range(before: PlannedRun | None, after: PlannedRun | None) -> tuple[float, float]:
    """What the ratio may be, over what is predicted: errors of the same devices are largely shared, others' are not."""
    if before is None or after is None:
        return SAME_DEVICES_RANGE
    names = [{run.machine.device(one).name for one in run.plan.placement.devices} for run in (before, after)]
    if names[0] == names[1]:
        return SAME_DEVICES_RANGE
    speeds = [run.plan.decode for run in (before, after)]
    below = [math.log(speed.low / speed.tokens_per_s) for speed in speeds]
    above = [math.log(speed.high / speed.tokens_per_s) for speed in speeds]
    return math.exp(-math.hypot(above[0], below[1])), math.exp(math.hypot(below[0], above[1]))


def _verdict(outcomes: tuple[Outcome, Outcome], gain: float | None, spread: tuple[float, float]) -> str:
    before, after = outcomes
    if gain is None:
        if before.plan is None and after.plan is not None:
            speed = rate_text(after.plan.decode.tokens_per_s)
            return f"It does not fit as the machine is; with the change it runs, at {speed} t/s by prediction."
        if after.plan is None and before.plan is not None:
            return "With the change it would no longer fit."
        return "It fits neither way."
    low, high = gain * spread[0], gain * spread[1]
    span = f"{low:.2f} to {high:.2f} times"
    turn = ""
    if before.plan and after.plan and before.plan.turn_s and after.plan.turn_s:
        turn = f" A turn takes {after.plan.turn_s:.1f} s in place of {before.plan.turn_s:.1f} s."
    if before.plan and after.plan and gain == 1 and before.placement == after.placement:
        return "Nothing would change: the plan would be the same."
    if SAME < gain < 1 / SAME:
        change = f"{100 * gain - 100:+.0f} %; {span} in nine of ten cases"
        return f"No difference in decode that could be told ({change}).{turn}"
    sure = "surely" if low > 1 or high < 1 else "probably"
    word = "faster" if gain > 1 else "slower"
    return f"Decode is {sure} {word}: {gain:.2f} times as fast, {span} in nine of ten cases.{turn}"


def _rows(request: PlanRequest, before: PlannedRun | None, after: PlannedRun | None) -> tuple[Compared, ...]:
    pair = (before, after)
    depths = sorted({*(depth for depth in SHOWN_DEPTHS if depth < request.workload.context), request.workload.context})
    rows = [
        _compared(_depth_name(depth), pair, partial(_decode_at, depth=depth), "t/s", _speed_text) for depth in depths
    ]
    rows.append(_compared("prefill", pair, _prefill, "t/s", _speed_text))
    rows.append(_compared("turn", pair, lambda run: run.plan.turn_s, "s", lambda value: f"{value:.1f} s"))
    rows.append(_compared("longest context", pair, longest_context, "tokens", lambda value: count_text(round(value))))
    rows += [
        _compared(f"on {label}", pair, partial(_pool_bytes, label=label), "bytes", lambda size: bytes_text(round(size)))
        for label in _pool_labels(pair)
    ]
    return tuple(rows)


def _depth_name(depth: int) -> str:
    return f"decode at {count_text(depth)}" if depth else "decode, empty context"


def _prefill(run: PlannedRun) -> float | None:
    return run.plan.prefill.tokens_per_s if run.plan.prefill is not None else None


def _compared(
    name: str,
    pair: tuple[PlannedRun | None, PlannedRun | None],
    figure: Callable[[PlannedRun], float | None],
    unit: str,
    text: Callable[[float], str],
) -> Compared:
    values = [None if run is None else figure(run) for run in pair]
    before, after = ("-" if value is None else text(value) for value in values)
    return Compared(name, values[0], values[1], unit, before, after)


def _speed_text(value: float) -> str:
    return f"{rate_text(value)} t/s"


def _decode_at(run: PlannedRun, depth: int) -> float:
    return predict_decode(scene_of(run), run.plan.placement, run.plan.parameters, context=depth).tokens_per_s


def _pool_labels(pair: tuple[PlannedRun | None, PlannedRun | None]) -> list[str]:
    labels = [use.label for run in pair if run is not None for use in pool_uses(run.machine, run.plan.memory)]
    return list(dict.fromkeys(labels))


def _pool_bytes(run: PlannedRun, label: str) -> float | None:
    held = [use.plan_bytes for use in pool_uses(run.machine, run.plan.memory) if use.label == label]
    return float(sum(held)) if held else None


def longest_context(run: PlannedRun) -> float | None:
    """The longest context, in steps of 4K, with which the model fits at all; at most what it was trained for.

    `None` for KTransformers, whose plans are not asked for it.
    """
    if run.plan.parameters.kt is not None:
        return None
    return float(longest_fitting(scene_of(run), run.plan.workload, run.policy))


def longest_fitting(scene: Scene, workload: Workload, policy: Policy) -> int:
    """As above, for a workload that fits."""
    trained = max(scene.shape.context_length, workload.context)
    low, high = max(1, workload.context // CONTEXT_STEP), max(1, trained // CONTEXT_STEP)
    while low < high:
        middle = (low + high + 1) // 2
        if fits(scene, replace(workload, context=middle * CONTEXT_STEP), policy):
            low = middle
        else:
            high = middle - 1
    return max(workload.context, low * CONTEXT_STEP)
