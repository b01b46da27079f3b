"""Everything the UI asks of the rest of the program, in one place, imported when asked.

The screens know this class and frozen values only. Tests replace single methods by handing in a subclass.
Methods that block say so; they are called from thread workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from app.jobs.planning import PlannedRun, PlanRequest
    from app.launch.ownership import EngineRecord
    from app.launch.supervisor import EngineStatus, Supervisor
    from app.readiness import Finding
    from app.runtimes.base import Engine
    from app.telemetry.sample import Sample, Timings
    from app.telemetry.sampler import Sampler
    from detectors.facts import Machine
    from detectors.host import Host

DETECTOR_TIMEOUT_S = 3.0
"""A detector that takes longer is reported as a problem: quitting waits for its thread."""


class Backend:
    """The real thing.

    Args:
        capture: a captured machine to show in place of this one.

    Raises:
        UsageError: the capture cannot be read.
    """

    def __init__(self, capture: str | None = None) -> None:
        self.capture = capture
        self._host: Host | None = None
        if capture is not None:
            from app.jobs.checking import open_host

            self._host = open_host(capture)

    def detect(self) -> Iterator[Machine]:
        """The machine as far as it is known, after each detector's answer. Blocks."""
        from detectors.host import Host
        from detectors.registry import detect_each, merge

        host = self._host or Host()
        founds = []
        for answer in detect_each(host, DETECTOR_TIMEOUT_S):
            founds.append(answer)
            yield merge(host, founds)

    def measured(self, machine: Machine) -> Machine:
        """The machine with what was measured on it before in place of estimates. Blocks: it reads the store."""
        from app.jobs.checking import with_figures

        return with_figures(machine, live=self.capture is None)

    def judge(self, machine: Machine) -> tuple[Finding, ...]:
        """What is right and wrong with the machine, most costly first."""
        from app.readiness import judge

        return judge(machine)

    def engines(self, machine: Machine) -> tuple[Engine, ...]:
        """Every engine that was found, best first. Blocks: it asks each what it can do.

        A captured machine cannot be asked: it is given the engine that would suit it.
        """
        if self.capture is not None:
            from app.runtimes.assumed import assumed_engine

            return (assumed_engine(machine),)
        from app.runtimes.registry import find_engines

        return find_engines(machine=machine)

    def judge_engines(
        self, findings: tuple[Finding, ...], machine: Machine, engines: tuple[Engine, ...]
    ) -> tuple[Finding, ...]:
        """The findings together with what is wrong between the engines and the machine."""
        if self.capture is not None:
            return findings
        from app.jobs.checking import with_engines

        return with_engines(findings, machine, engines)

    def plan(self, request: PlanRequest, machine: Machine | None, engines: tuple[Engine, ...] | None) -> PlannedRun:
        """Solve; what is `None` is found out first. Blocks.

        Raises:
            MoetuneError: there is no such plan; the message says why.
        """
        from app.jobs.planning import make_plan

        return make_plan(request, machine, engines)

    def supervisor(self, on_state: Callable[[EngineStatus], None], on_line: Callable[[str], None]) -> Supervisor:
        """A supervisor that reports to these two."""
        from app.launch.supervisor import Supervisor

        return Supervisor(on_state=on_state, on_line=on_line)

    async def launch(self, planned: PlannedRun, supervisor: Supervisor) -> PlannedRun:
        """Start the engine of a plan; returns when it is ready: the plan that runs, smaller where memory was short.

        Raises:
            MoetuneError: it did not start; nothing is left running.
        """
        from app.jobs.running import launch

        return await launch(planned, supervisor)

    def sampler(self, machine: Machine | None, on_sample: Callable[[Sample], None]) -> Sampler:
        """A sampler that is not started yet. `on_sample` is called from its thread."""
        from app.telemetry.sampler import Sampler

        return Sampler(machine, on_sample=on_sample)

    def chat(self, url: str, prompt: str, on_text: Callable[[str], None], cancelled: threading.Event) -> Timings:
        """Have the engine answer. Blocks; `on_text` gets the text piece by piece.

        Raises:
            EngineFailedError: the engine went away or refused.
        """
        from app.telemetry.client import stream_chat

        return stream_chat(url, prompt, on_text=on_text, cancelled=cancelled)

    def orphan(self) -> EngineRecord | None:
        """An engine whose moetune is gone. Blocks shortly."""
        from app.launch.ownership import orphan

        return orphan()

    def stop_orphan(self, record: EngineRecord) -> None:
        """Stop it. Blocks for as long as its grace period."""
        from app.launch.ownership import stop_orphan

        stop_orphan(record)
