"""The launch ladder: an engine that dies of memory while it loads is planned again with less, and started again.

What a device refused is in the engine's log; how much of it could have been had is known where the engine said what
was free. Where it did not, or where that would have been enough (memory in pieces, a limit of another kind), the piece
that was refused is halved, then quartered, then left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app.errors import EngineFailedError, MoetuneError, NoFitError
from app.jobs.planning import PlannedRun, make_plan
from app.runtimes.load_log import by_device, parse
from app.runtimes.memory_failures import MemoryFailure, device_of, free_bytes, memory_failure
from app.solver.plan import DeviceMemory
from app.units import MIB, bytes_text

if TYPE_CHECKING:
    from collections.abc import Awaitable

ROUNDS = 3
"""How often a plan is made again after the engine died of it."""

KEPT_OF_PIECE = (0.5, 0.25, 0.0)
"""How much of a refused piece the next plan may hope for, where nothing says how much was free."""

LEAST_STEP_BYTES = 32 * MIB
"""A smaller cut might change no layer's place, and be refused once more."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step down the ladder: what was refused, and what the next plan may use of that device."""

    device_id: str
    refused: MemoryFailure
    limit_bytes: int


async def launch_down(
    planned: PlannedRun,
    start: Callable[[PlannedRun], Awaitable[None]],
    said: Callable[[], Sequence[str]],
    say: Callable[[str], None],
) -> PlannedRun:
    """Start a plan; where the engine dies of memory, plan again with less of the device that refused, and start that.

    Args:
        planned: the first plan.
        start: starts the engine of a plan and returns when it is ready.
        said: the engine's last lines.
        say: tells a person one line.

    Returns:
        The plan that runs.

    Raises:
        EngineFailedError: it failed for another reason, or `ROUNDS` smaller plans failed too, or none is left.
        MoetuneError: as `start` and `make_plan` do.
    """
    import asyncio

    for attempt in range(ROUNDS + 1):
        try:
            await start(planned)
            return planned
        except EngineFailedError as error:
            step = next_step(planned, said(), attempt) if attempt < ROUNDS else None
            if step is None:
                raise
            say(f"{error.message} Planning again with at most {bytes_text(step.limit_bytes)} of"
                f" {_name(planned, step.device_id)} (attempt {attempt + 2} of {ROUNDS + 1}).")  # fmt: skip
            try:
                planned = await asyncio.to_thread(replanned, planned, step)
            except NoFitError as nothing:
                raise EngineFailedError(error.message, hint=f"No smaller plan fits: {nothing.message}") from error
            except MoetuneError as other:
                raise EngineFailedError(error.message, hint=f"Planning again failed: {other.message}") from error
            from app.solver.explain import placement_text

            say(f"the next plan: {placement_text(planned.machine, planned.plan.placement, planned.shape)}")
    raise AssertionError("the last attempt returns or raises")


def next_step(planned: PlannedRun, lines: Sequence[str], attempt: int) -> Step | None:
    """What to try after that log; `None`: it does not show which device ran out of memory while it loaded.

    Args:
        planned: the plan that failed.
        lines: the engine's last lines.
        attempt: how many plans failed before this one.
    """
    refused = memory_failure(lines)
    device_id = device_of(refused, planned.engine) if refused else None
    if refused is None or device_id is None:
        return None
    memory = next((one for one in planned.plan.memory if one.device_id == device_id), None)
    if memory is None:
        return None
    limit = _limit(memory, refused, taken_bytes(planned, lines)[device_id], free_of(planned, lines, device_id), attempt)
    return Step(device_id, refused, limit) if limit > 0 else None


def taken_bytes(planned: PlannedRun, lines: Sequence[str]) -> dict[str, int]:
    """What the engine had on each device when it failed, by device id; 0 where it says nothing."""
    report = parse(lines)
    found = {memory.device_id: 0 for memory in planned.plan.memory}
    for buffers in (report.weight_bytes, report.kv_bytes, report.compute_bytes):
        for device_id, size in by_device(buffers, planned.engine).items():
            found[device_id] = found.get(device_id, 0) + size
    return found


def free_of(planned: PlannedRun, lines: Sequence[str], device_id: str) -> int | None:
    """What that device had free when the engine looked."""
    return free_bytes(lines, planned.engine).get(device_id)


def _limit(memory: DeviceMemory, refused: MemoryFailure, taken: int, free: int | None, attempt: int) -> int:
    """The most bytes that the next plan may put on the device, below what this one put there.

    Weights come first, then the cache, then the compute buffers: what was still to come is as the plan has it.
    """
    held = memory.weight_bytes + memory.kv_bytes + memory.compute_bytes
    if memory.device_id != "cpu":  # on the host the rest is the prompt cache, which is filled later
        held += memory.other_bytes
    asked = refused.asked_bytes or LEAST_STEP_BYTES
    to_come = {"weights": memory.kv_bytes + memory.compute_bytes, "KV cache": memory.compute_bytes}
    needed = taken + asked + to_come.get(refused.part or "", 0)
    over = needed - free if free is not None and needed > free else round((1 - KEPT_OF_PIECE[attempt]) * asked)
    return max(0, held - max(over, LEAST_STEP_BYTES))


def replanned(planned: PlannedRun, step: Step) -> PlannedRun:
    """The same request with that limit. Blocks: the engine is asked for the memory of the plan.

    Raises:
        MoetuneError: there is no such plan.
    """
    others = tuple(limit for limit in planned.policy.limits if limit[0] != step.device_id)
    request = replace(planned.request, limits=(*others, (step.device_id, step.limit_bytes)))
    return make_plan(request, planned.machine, (planned.engine,))


def _name(planned: PlannedRun, device_id: str) -> str:
    if device_id == "cpu":
        return "RAM"
    return next((device.name for device in planned.engine.devices if device.device_id == device_id), device_id)
