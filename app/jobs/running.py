"""The run job: a planned run under a supervisor, with prompts through it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.jobs.planning import PlannedRun

if TYPE_CHECKING:
    from app.launch.supervisor import Supervisor


async def launch(planned: PlannedRun, supervisor: Supervisor) -> None:
    """Start the engine for that plan and return when it answers.

    Raises:
        PortInUseError, BusyError, EngineFailedError: nothing is left running.
    """
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
