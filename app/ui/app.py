"""The app with all its jobs: an engine is started, watched, prompted and stopped. Nothing here blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on, work

from app.errors import ExitCode
from app.telemetry.sample import EMPTY
from app.ui import messages
from app.ui.planner import Planner

if TYPE_CHECKING:
    from app.jobs.planning import PlannedRun, PlanRequest
    from app.launch.ownership import EngineRecord


class MoetuneApp(Planner):
    """The terminal UI.

    Args:
        capture: a captured machine to show and plan for in place of this one.
        planned: a plan to show at once.
        request: a request to solve at once.
        launch_now: start the engine of that plan as soon as there is one.
        prompts: what to have the engine answer once it is ready.
        backend: the edges to the rest of the program; the real ones by default.
    """

    def _begin(self) -> None:
        self._detect()
        self._look_for_orphan()
        if self.planned is not None and self.launch_now:
            self._start(self.planned)
        elif self.planned is None and self.request is not None:
            self._solve_request()

    # -- engine ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what cannot be done now."""
        if action == "launch":
            ready = self.planned is not None and self.planned.launchable and self.plan_error is None
            return True if ready else None
        if action == "stop_engine":
            return True if self.engine.is_live else None
        if action == "restart_engine":
            return True if (self.engine.planned or self.planned) is not None else None
        return True

    def action_launch(self) -> None:
        """Start the engine with the plan that is shown."""
        if self.planned is not None:
            self._start_or_ask(self.planned)

    def action_restart_engine(self) -> None:
        """Start what ran last, or the plan where nothing ran."""
        planned = self.engine.planned or self.planned
        if planned is not None:
            self._start_or_ask(planned)

    def _start_or_ask(self, planned: PlannedRun) -> None:
        if not self.engine.is_live:
            self._start(planned)
            return
        from app.ui.screens.dialogs import QuestionDialog

        question = f"{self.engine.label} is running. Stop it and start {planned.plan.model_name} with this plan?"
        self.push_screen(
            QuestionDialog(question, "Stop and start", "Keep it running"),
            lambda yes: self._replace_if(yes, planned),
        )

    def _replace_if(self, yes: bool | None, planned: PlannedRun) -> None:
        if yes:
            self._replace_engine(planned)

    @work(group="replace", exclusive=True, exit_on_error=False, description="Replacing the engine")
    async def _replace_engine(self, planned: PlannedRun) -> None:
        await self.engine.stop()
        self._start(planned)

    def _start(self, planned: PlannedRun) -> None:
        self.engine_error = None
        self.timings = None
        self.sample = EMPTY
        self.predicted_band = (planned.plan.decode.low, planned.plan.decode.high)
        self.engine.start(planned)
        self.switch_mode("live")

    @work(group="stop", exclusive=True, exit_on_error=False, description="Stopping the engine")
    async def action_stop_engine(self) -> None:
        """Stop the engine; the app goes on."""
        await self.engine.stop()

    @on(messages.EngineChanged)
    def _engine_changed(self, event: messages.EngineChanged) -> None:
        self.status = event.status
        if event.status.state.name == "READY" and self.prompts:
            prompts, self.prompts = self.prompts, ()
            self._answer(prompts)

    @on(messages.EngineRefused)
    def _engine_refused(self, event: messages.EngineRefused) -> None:
        self.engine_error = event.error
        self.screen.refresh_bindings()

    @on(messages.SampleTaken)
    def _sample_taken(self, event: messages.SampleTaken) -> None:
        self.engine.history.append(event.sample)
        self.sample = event.sample

    def generate(self, prompt: str) -> bool:
        """Have the engine answer; `False` while it is not ready, or is answering already."""
        if self.generating or self.status is None or self.status.state.name != "READY":
            return False
        self._answer((prompt,))
        return True

    def _answer(self, prompts: tuple[str, ...]) -> None:
        self.generating = True
        self._generate(prompts)

    @work(thread=True, group="generate", exit_on_error=False, description="Generating")
    def _generate(self, prompts: tuple[str, ...]) -> None:
        for prompt in prompts:
            if not self.engine.is_live:
                break
            self.engine.answer.append(f"\n› {prompt}\n")
            self.engine.generate(prompt)
        self.call_from_thread(setattr, self, "generating", False)

    @on(messages.AnswerEnded)
    def _answer_ended(self, event: messages.AnswerEnded) -> None:
        if event.timings is not None:
            self.timings = event.timings
        if event.cancelled:
            self.engine.answer.append("\n(cancelled)\n")
        elif event.error is not None and self.engine.is_live:
            self.show_error(event.error)

    # -- an engine left behind -------------------------------------------------------------------------------------

    @work(thread=True, group="orphan", exit_on_error=False, description="Looking for an engine left behind")
    def _look_for_orphan(self) -> None:
        record = self.backend.orphan()
        if record is not None:
            self.post_message(messages.OrphanFound(record))

    @on(messages.OrphanFound)
    def _ask_about_orphan(self, event: messages.OrphanFound) -> None:
        from app.ui.screens.dialogs import OrphanDialog

        self.push_screen(
            OrphanDialog(event.record), lambda choice: self._settle_orphan(event.record, choice or "leave")
        )

    def _settle_orphan(self, record: EngineRecord, choice: str) -> None:
        if choice == "stop":
            self._stop_orphan(record)
        elif choice == "adopt":
            low, high = record.facts.get("predicted_low"), record.facts.get("predicted_high")
            known = isinstance(low, float | int) and isinstance(high, float | int)
            self.predicted_band = (float(low), float(high)) if known else None  # type: ignore[arg-type]  # checked above
            self.engine_error = None
            self.engine.adopt(record)
            self.switch_mode("live")

    @work(thread=True, group="orphan", exit_on_error=False, description="Stopping the engine left behind")
    def _stop_orphan(self, record: EngineRecord) -> None:
        self.backend.stop_orphan(record)
        self.call_from_thread(self.notify, f"Stopped {record.label}.")


def run(
    *,
    capture: str | None = None,
    planned: PlannedRun | None = None,
    request: PlanRequest | None = None,
    launch_now: bool = False,
    prompts: tuple[str, ...] = (),
) -> int:
    """Run the UI until it is left; the process's exit code."""
    app = MoetuneApp(capture=capture, planned=planned, request=request, launch_now=launch_now, prompts=prompts)
    result = app.run()
    if app.return_code:
        return app.return_code
    return result if result is not None else ExitCode.OK
