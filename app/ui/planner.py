"""The app's first two jobs: knowing the machine, and planning. Threads find out; handlers own the state."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on, work

from app.errors import MoetuneError
from app.ui import messages
from app.ui.shell import Shell

if TYPE_CHECKING:
    from app.jobs.planning import PlanRequest
    from app.readiness import Finding
    from detectors.facts import Machine


class Planner(Shell):
    """Detects, judges and solves, always for the newest request."""

    # -- machine ---------------------------------------------------------------------------------------------------

    def action_detect(self) -> None:
        """Read the machine again."""
        self.findings = self.engines = None
        self._detect()

    @work(thread=True, group="detect", exclusive=True, exit_on_error=False, description="Detecting the machine")
    def _detect(self) -> None:
        machine = None
        for machine in self.backend.detect():
            self.post_message(messages.MachineDetected(machine, None))
        if machine is not None:
            machine = self.backend.measured(machine)
            findings = self.backend.judge(machine)
            self.post_message(messages.MachineDetected(machine, findings))
            self._find_engines(machine, findings)

    def _find_engines(self, machine: Machine, findings: tuple[Finding, ...]) -> None:
        try:
            found = self.backend.engines(machine)
        except (MoetuneError, OSError) as error:
            self.post_message(messages.EnginesFound((), findings, str(error)))
        else:
            findings = self.backend.judge_engines(findings, machine, found)
            self.post_message(messages.EnginesFound(found, findings))

    @on(messages.MachineDetected)
    def _machine_detected(self, event: messages.MachineDetected) -> None:
        self.machine = event.machine
        self.engine.machine = event.machine
        if event.findings is not None:
            self.findings = event.findings

    @on(messages.EnginesFound)
    def _engines_found(self, event: messages.EnginesFound) -> None:
        self.engines_error = event.error
        self.engines = event.engines
        self.findings = event.findings

    # -- plan ------------------------------------------------------------------------------------------------------

    @work(thread=True, group="models", exclusive=True, exit_on_error=False, description="Looking for models")
    def find_models(self) -> None:
        """Look for model files in the usual places."""
        from app.models.places import first_models

        found = first_models()
        self.call_from_thread(setattr, self, "models", found)

    async def action_choose_model(self) -> None:
        """Go to the plan's path field."""
        await self.switch_mode("plan")
        self.call_later(self.run_action, "screen.choose_model")

    def plan_model(self, path: str) -> None:
        """Plan this model file."""
        import os

        from app.jobs.planning import PlanRequest

        model = os.path.expanduser(path)
        asked = self.request or PlanRequest(model=model, capture=self.backend.capture)
        self.request = replace(asked, model=model)
        self._solve_request()

    def change_request(self, request: PlanRequest) -> None:
        """Ask for this in place of what was asked, and solve again."""
        self.request = request
        self._solve_request()

    def _solve_request(self) -> None:
        """Solve the newest request; while one is being solved, the newest waits and the others are dropped."""
        self._generation += 1
        self.solving = True
        if not self._solver_busy and self.request is not None:
            self._solver_busy = True
            self._solve(self._generation, self.request)

    @work(thread=True, group="solve", exit_on_error=False, description="Solving the plan")
    def _solve(self, generation: int, request: PlanRequest) -> None:
        begun = time.monotonic()
        try:
            planned = self.backend.plan(
                request, self.machine if self.findings is not None else None, self.engines or None
            )
        except MoetuneError as error:
            self.post_message(messages.PlanFailed(generation, error))
        else:
            self.post_message(messages.PlanSolved(generation, planned, time.monotonic() - begun))

    @on(messages.PlanSolved)
    def _plan_solved(self, event: messages.PlanSolved) -> None:
        if self._is_newest(event.generation):
            self.solve_seconds = event.elapsed_s
            self.plan_error = None
            self.planned = event.planned
            if self.launch_now:
                self.launch_now = False
                self._start(event.planned)

    @on(messages.PlanFailed)
    def _plan_failed(self, event: messages.PlanFailed) -> None:
        if self._is_newest(event.generation):
            self.solve_seconds = None
            self.plan_error = event.error

    def _is_newest(self, generation: int) -> bool:
        self._solver_busy = False
        if generation == self._generation:
            self.solving = False
            return True
        self._generation -= 1
        self._solve_request()
        return False
