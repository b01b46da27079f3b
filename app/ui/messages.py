"""What happened, as the parts of the UI tell each other.

Payloads are frozen; the messages themselves cannot be, because Textual sets fields of theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from app.errors import MoetuneError
    from app.jobs.planning import PlannedRun
    from app.launch.ownership import EngineRecord
    from app.launch.supervisor import EngineStatus
    from app.readiness import Finding
    from app.runtimes.base import Engine
    from app.telemetry.sample import Sample, Timings
    from detectors.facts import Machine


@dataclass
class MachineDetected(Message):
    """One more detector has answered; `machine` is all that is known so far."""

    machine: Machine
    findings: tuple[Finding, ...] | None
    """The judgement, once every detector has answered; `None` before."""


@dataclass
class EnginesFound(Message):
    """The search for engines has ended."""

    engines: tuple[Engine, ...]
    findings: tuple[Finding, ...]
    """Those of the machine, and what is wrong between it and the engines."""
    error: str = ""


@dataclass
class PlanSolved(Message):
    """A plan was made for the request of that generation."""

    generation: int
    planned: PlannedRun
    elapsed_s: float


@dataclass
class PlanFailed(Message):
    """No plan could be made for the request of that generation."""

    generation: int
    error: MoetuneError


@dataclass
class OrphanFound(Message):
    """An engine runs whose owner is gone."""

    record: EngineRecord


@dataclass
class EngineChanged(Message):
    """The supervised engine entered another state."""

    status: EngineStatus


@dataclass
class EngineRefused(Message):
    """A start or an adoption did not succeed."""

    error: MoetuneError


@dataclass
class SampleTaken(Message):
    """The sampler has a new sample. The newest wins: a slow screen never queues old ones."""

    sample: Sample

    def can_replace(self, message: Message) -> bool:
        """Whether the queued `message` makes this one superfluous."""
        return isinstance(message, SampleTaken)


@dataclass
class AnswerEnded(Message):
    """A generation has ended: finished, cancelled or failed."""

    timings: Timings | None
    error: MoetuneError | None = None
    cancelled: bool = False
