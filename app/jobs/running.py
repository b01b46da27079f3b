"""The run job: a planned run under a supervisor, prompts through it, and what was measured."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import UsageError
from app.jobs.planning import PlannedRun
from app.solver.ktransformers import RUNTIME as KTRANSFORMERS
from app.telemetry.sample import Sample, Timings
from app.units import bytes_text

if TYPE_CHECKING:
    from app.launch.supervisor import Supervisor


PROGRESS_EVERY_S = 3.0
"""A model that is there sooner needs no progress."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run of a plan came to."""

    planned: PlannedRun
    timings: tuple[Timings, ...]
    """Of each prompt, in order."""
    samples: tuple[Sample, ...]
    answers: tuple[str, ...]
    other_cores: float | None = None
    """How many cores other programs kept busy meanwhile; `None` where it was not watched."""

    @property
    def decode_tps(self) -> float | None:
        """All generated tokens over all generation time, the first token of each answer left out."""
        steps = sum(max(0, timing.predicted_tokens - 1) for timing in self.timings)
        spent = sum(timing.predicted_ms for timing in self.timings)
        return 1000 * steps / spent if spent > 0 and steps else None

    @property
    def prefill_tps(self) -> float | None:
        """All prompt tokens over all prompt time."""
        tokens, spent = (sum(getattr(t, name) for t in self.timings) for name in ("prompt_tokens", "prompt_ms"))
        return 1000 * tokens / spent if spent > 0 and tokens else None


async def launch(planned: PlannedRun, supervisor: Supervisor, say: Callable[[str], None] | None = None) -> PlannedRun:
    """Start the engine for that plan and return when it answers: the plan that runs in the end.

    An engine that dies of memory while it loads is planned again with less and started again: `app.jobs.ladder`.

    Args:
        planned: what to run.
        supervisor: starts it.
        say: tells a person each step, and where what was loaded differs from the plan by more than 5 %; `None`: among
            the engine's own lines.

    Raises:
        UsageError: the plan is for another machine, or the model is not downloaded.
        PortInUseError, BusyError, EngineFailedError: nothing is left running.
    """
    from app.jobs.ladder import launch_down
    from app.jobs.load_report import check_load

    refuse_what_cannot_run(planned)
    tell = say or supervisor.say

    def said() -> tuple[str, ...]:
        return tuple(supervisor.tail)

    async def begin(one: PlannedRun) -> None:
        watch = asyncio.create_task(tell_progress(one, supervisor, tell))
        try:
            await start(one, supervisor)
        finally:
            watch.cancel()

    ran = await launch_down(planned, begin, said, tell)
    for line in check_load(ran, said()).told:
        tell(line)
    return ran


async def tell_progress(planned: PlannedRun, supervisor: Supervisor, tell: Callable[[str], None]) -> None:
    """Tell every `PROGRESS_EVERY_S` how much of the model the engine has read, until it is cancelled."""
    from app.launch.loading import bytes_read

    total = planned.shape.file_bytes
    before = supervisor.status.pid if supervisor.status.state.name == "EXITED" else None
    while total:
        await asyncio.sleep(PROGRESS_EVERY_S)
        pid = supervisor.status.pid
        read = bytes_read(pid) if pid is not None and pid != before else None
        if read is not None:
            tell(f"loading: {min(read, total) / total:.0%} of {bytes_text(total)} read".replace("%", " %"))


def refuse_what_cannot_run(planned: PlannedRun) -> None:
    """Make sure that the plan is one for here and now.

    Raises:
        UsageError: it is for another machine, for an engine that is only described, or its model is not downloaded.
    """
    if planned.launchable:
        return
    request = planned.request
    if request.capture is not None:
        raise UsageError(f"This plan is for the machine captured in {request.capture}.", hint="Run it there.")
    if planned.plan.runtime == KTRANSFORMERS:
        raise UsageError(
            "moetune prints the command of KTransformers and does not run it.", hint="`moetune plan` prints it."
        )
    raise UsageError(f"{request.model} is not downloaded.", hint="Give the path of its GGUF file.")


async def start(planned: PlannedRun, supervisor: Supervisor) -> None:
    """Start exactly that plan's engine; as `launch`, without another try."""
    decode = planned.plan.decode
    facts: dict[str, object] = {
        "model": planned.plan.model_name,
        "model_path": planned.plan.model_path,
        "context": planned.plan.parameters.context,
        "predicted_tps": decode.tokens_per_s,
        "predicted_low": decode.low,
        "predicted_high": decode.high,
        "engine": planned.engine.version,
    }
    await supervisor.start(planned.command, label=planned.plan.model_name, facts=facts)


async def ask(
    url: str,
    prompt: str,
    *,
    tokens: int,
    ignore_eos: bool = False,
    on_text: Callable[[str], None] = lambda _: None,
) -> Timings:
    """Have the engine answer one prompt; cancelling the task cancels the generation.

    Raises:
        EngineFailedError: the engine went away or refused.
    """
    from app.telemetry.client import stream_chat

    cancelled = threading.Event()
    call = asyncio.create_task(
        asyncio.to_thread(
            stream_chat, url, prompt, max_tokens=tokens, ignore_eos=ignore_eos, on_text=on_text, cancelled=cancelled
        )
    )
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait({call}, timeout=5)
        raise


def remember(report: RunReport) -> None:
    """Keep the run in the database, so that predictions can be held against it."""
    import json

    from app import store
    from app.jsonform import plain

    plan = report.planned.plan
    engine = f"{report.planned.engine.runtime} {report.planned.engine.version}"
    run_id = store.save_run(plan.model_name, json.dumps(plain(plan)), plan.decode.tokens_per_s, engine)
    store.finish_run(run_id, decode_tps=report.decode_tps, prefill_tps=report.prefill_tps)
