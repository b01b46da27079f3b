"""The edges of the app under a test's hand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from app.errors import MoetuneError
from app.jobs.planning import PlannedRun, PlanRequest
from app.launch.ownership import EngineRecord
from app.launch.supervisor import EngineState, EngineStatus
from app.readiness import Finding
from app.runtimes.base import Engine
from app.telemetry.sample import Sample, Timings
from app.ui.backend import Backend
from detectors.facts import Machine
from tests.ui.values import FINDINGS, URL, make_engine, make_machine, make_planned

if TYPE_CHECKING:
    from app.launch.supervisor import Supervisor
    from app.telemetry.sampler import Sampler


class FakeSupervisor:
    """Goes through the states that the real one goes through, when told to."""

    def __init__(self, on_state: Callable[[EngineStatus], None], on_line: Callable[[str], None]) -> None:
        self.status = EngineStatus(EngineState.IDLE)
        self.on_state, self.on_line = on_state, on_line
        self.stops = 0
        self.adopted: EngineRecord | None = None
        self.may_be_ready = asyncio.Event()
        self.may_be_ready.set()

    def report(self, state: EngineState, reason: str = "", hint: str = "", exit_code: int | None = None) -> None:
        """Enter a state."""
        self.status = EngineStatus(state, reason, hint, 4242, URL, exit_code)
        self.on_state(self.status)

    async def start(self) -> None:
        """Load and be ready."""
        self.report(EngineState.STARTING)
        self.on_line("load_tensors: loading model tensors")
        await self.may_be_ready.wait()
        if self.status.state is EngineState.STARTING:
            self.report(EngineState.READY)

    async def adopt(self, record: EngineRecord) -> None:
        """Take over."""
        self.adopted = record
        await self.start()

    async def stop(self) -> EngineStatus:
        """End, as the real one: twice is once."""
        self.may_be_ready.set()
        if self.status.state in (EngineState.STARTING, EngineState.READY):
            self.stops += 1
            self.report(EngineState.STOPPING)
            self.report(EngineState.EXITED, "The engine was stopped.")
        return self.status


class FakeSampler:
    """Says nothing by itself."""

    def __init__(self) -> None:
        self.watched: list[tuple[str | None, int | None]] = []
        self.stopped = threading.Event()

    def start(self) -> None:
        """Nothing to start."""

    def watch(self, url: str | None, pid: int | None) -> None:
        """Remember what is watched."""
        self.watched.append((url, pid))

    def stop(self) -> None:
        """Remember that it was stopped."""
        self.stopped.set()


class FakeBackend(Backend):
    """A machine, a planner and an engine under the test's hand."""

    def __init__(self, machine: Machine | None = None) -> None:
        super().__init__()
        self.machine = machine or make_machine()
        self.findings: tuple[Finding, ...] = FINDINGS
        self.found_engines: tuple[Engine, ...] = (make_engine(),)
        self.plan_error: MoetuneError | None = None
        self.launch_error: MoetuneError | None = None
        self.requests: list[PlanRequest] = []
        self.left_behind: EngineRecord | None = None
        self.stopped_orphans: list[EngineRecord] = []
        self.prompts: list[str] = []
        self.answer = ("The moon ", "pulls.")
        self.hold_answer: threading.Event | None = None
        self.engine: FakeSupervisor | None = None
        self.probe: FakeSampler | None = None

    def detect(self) -> Iterator[Machine]:
        yield replace(self.machine, devices=self.machine.devices[:1], links=(), problems=())
        yield self.machine

    def measured(self, machine: Machine) -> Machine:
        return machine

    def judge(self, machine: Machine) -> tuple[Finding, ...]:
        return self.findings

    def engines(self, machine: Machine) -> tuple[Engine, ...]:
        return self.found_engines

    def judge_engines(
        self, findings: tuple[Finding, ...], machine: Machine, engines: tuple[Engine, ...]
    ) -> tuple[Finding, ...]:
        return findings

    def plan(self, request: PlanRequest, machine: Machine | None, engines: tuple[Engine, ...] | None) -> PlannedRun:
        self.requests.append(request)
        if self.plan_error is not None:
            raise self.plan_error
        return make_planned(self.machine, request=request)

    def supervisor(self, on_state: Callable[[EngineStatus], None], on_line: Callable[[str], None]) -> Supervisor:
        self.engine = FakeSupervisor(on_state, on_line)
        return cast("Supervisor", self.engine)

    async def launch(self, planned: PlannedRun, supervisor: Supervisor) -> PlannedRun:
        if self.launch_error is not None:
            raise self.launch_error
        await cast("FakeSupervisor", supervisor).start()
        return planned

    def sampler(self, machine: Machine | None, on_sample: Callable[[Sample], None]) -> Sampler:
        self.probe = FakeSampler()
        return cast("Sampler", self.probe)

    def chat(self, url: str, prompt: str, on_text: Callable[[str], None], cancelled: threading.Event) -> Timings:
        self.prompts.append(prompt)
        for piece in self.answer:
            on_text(piece)
        if self.hold_answer is not None:
            cancelled.wait(10)
        return Timings(100, 160.0, 64, 1430.0, ttft_ms=1900.0)

    def orphan(self) -> EngineRecord | None:
        return self.left_behind

    def stop_orphan(self, record: EngineRecord) -> None:
        self.stopped_orphans.append(record)
