"""The app: its views, its state and what joins them. Screens show this state and call these actions; nothing blocks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.reactive import var
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from app.errors import ExitCode, MoetuneError
from app.resources import ASSETS
from app.telemetry.sample import EMPTY, Sample, Timings
from app.ui import messages
from app.ui.actions import COMMANDS
from app.ui.backend import Backend
from app.ui.crash import ScreenFailedError, write_report
from app.ui.engine import EngineSession
from app.ui.theme import DEFAULT_THEME, themes

if TYPE_CHECKING:
    from pathlib import Path

    from app.jobs.planning import PlannedRun, PlanRequest
    from app.launch.ownership import EngineRecord
    from app.launch.supervisor import EngineStatus
    from app.readiness import Finding
    from app.runtimes.base import Engine
    from app.solver.model import KvType
    from app.ui.widgets.chart import Band
    from detectors.facts import Machine, Problem


def _machine_view() -> Screen[Any]:
    from app.ui.screens.machine import MachineView

    return MachineView()


def _plan_view() -> Screen[Any]:
    from app.ui.screens.plan import PlanView

    return PlanView()


def _live_view() -> Screen[Any]:
    from app.ui.screens.live import LiveView

    return LiveView()


class MoetuneApp(App[int], inherit_bindings=False):
    """The terminal UI.

    Args:
        root: where the machine is read from; another folder shows a captured machine.
        planned: a plan to show at once.
        request: a request to solve at once.
        launch_now: start the engine of that plan as soon as there is one.
        prompts: what to have the engine answer once it is ready.
        backend: the edges to the rest of the program; the real ones by default.
    """

    TITLE = "moetune"
    CSS_PATH = ASSETS / "styles" / "app.tcss"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "machine": _machine_view,
        "plan": _plan_view,
        "live": _live_view,
    }
    DEFAULT_MODE = "machine"
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (70, "-narrow"), (100, "-wide")]  # noqa: RUF012 Textual's type
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (20, "-short"), (34, "-tall")]  # noqa: RUF012 Textual's type
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "1",
            "show_mode('machine')",
            "Machine",
            show=False,
            tooltip="The machine and what is wrong with it.",
            id="view.machine",
        ),
        Binding("2", "show_mode('plan')", "Plan", show=False, tooltip="The plan for a model.", id="view.plan"),
        Binding("3", "show_mode('live')", "Live", show=False, tooltip="The running engine.", id="view.live"),
        Binding(
            "ctrl+c",
            "interrupt",
            "Quit",
            show=False,
            priority=True,
            tooltip="Copy the selected text; without a selection, quit.",
            id="app.interrupt",
        ),
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="app.quit-always"),
    ]

    machine: var[Machine | None] = var(None)
    findings: var[tuple[Finding, ...] | None] = var(None)
    engines: var[tuple[Engine, ...] | None] = var(None)
    models: var[tuple[Path, ...] | None] = var(None)
    planned: var[PlannedRun | None] = var(None)
    plan_error: var[MoetuneError | None] = var(None)
    solving: var[bool] = var(False)
    status: var[EngineStatus | None] = var(None)
    engine_error: var[MoetuneError | None] = var(None)
    sample: var[Sample] = var(EMPTY)
    generating: var[bool] = var(False)
    timings: var[Timings | None] = var(None)

    def __init__(
        self,
        *,
        root: str = "/",
        planned: PlannedRun | None = None,
        request: PlanRequest | None = None,
        launch_now: bool = False,
        prompts: tuple[str, ...] = (),
        backend: Backend | None = None,
    ) -> None:
        super().__init__()
        for theme in themes():
            self.register_theme(theme)
        self.theme = DEFAULT_THEME
        self.backend = backend or Backend(root)
        self.engine = EngineSession(self.backend, self.post_message)
        self.request = request or (planned.request if planned is not None else None)
        self.launch_now = launch_now
        self.prompts = prompts
        self.solve_seconds: float | None = None
        self.engines_error = ""
        self.predicted_band: Band | None = None
        self._generation = 0
        self._solver_busy = False
        self._quitting = False
        self.set_reactive(MoetuneApp.planned, planned)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Our own colour names, for themes that do not define them."""
        return {"muted": "#848e98", "faint": "#66707a"}

    @property
    def machine_shown(self) -> Machine | None:
        """The machine with the remote devices of what runs."""
        return self.engine.planned.machine if self.engine.planned is not None else self.machine

    # -- life ------------------------------------------------------------------------------------------------------

    async def on_mount(self) -> None:
        """Begin to find out; nothing here waits for an answer."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self._exit_by_signal, number)
        if self.planned is not None and self.launch_now:
            await self.switch_mode("live")
        elif self.request is not None:
            await self.switch_mode("plan")
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._detect()
        self._look_for_orphan()
        if self.planned is not None and self.launch_now:
            self._start(self.planned)
        elif self.planned is None and self.request is not None:
            self._solve_request()

    def _exit_by_signal(self, number: int) -> None:
        self.exit(return_code=128 + number)

    async def on_unmount(self) -> None:
        """Whatever ended the app: no engine stays behind."""
        await self.engine.close()

    async def action_quit(self) -> None:
        """Stop the engine where the person sees it, then leave; asked twice, leave at once."""
        if self.engine.is_live and not self._quitting:
            self._quitting = True
            self.notify("Stopping the engine…")
            self._stop_then_exit()
        else:
            self.exit(0)

    @work(group="quit", exit_on_error=False)
    async def _stop_then_exit(self) -> None:
        await self.engine.stop()
        self.exit(0)

    async def action_interrupt(self) -> None:
        """Ctrl-C copies a selection, and otherwise quits."""
        if self.screen.get_selected_text():
            await self.run_action("screen.copy_text")
            self.screen.clear_selection()
        else:
            await self.action_quit()

    def _handle_exception(self, error: Exception) -> None:
        """A fault of ours ends the app with one sentence; its traceback is in a file."""
        super()._handle_exception(ScreenFailedError(error))

    @on(Worker.StateChanged)
    def _worker_changed(self, event: Worker.StateChanged) -> None:
        """The one place where a failed worker is reported; the app goes on."""
        error = event.worker.error
        if event.state is not WorkerState.ERROR or error is None:
            return
        if event.worker.group == "solve":
            self._solver_busy = self.solving = False
        if isinstance(error, MoetuneError):
            self.show_error(error)
            return
        report = write_report(error)
        where = f" Details: {report}" if report else ""
        self.show_error(
            MoetuneError(f"{event.worker.description}: {type(error).__name__}: {error}", hint=where.strip())
        )

    # -- views and dialogs -----------------------------------------------------------------------------------------

    async def action_show_mode(self, mode: str) -> None:
        """Go to a view."""
        if not self.screen.is_modal:
            await self.switch_mode(mode)

    def action_help(self) -> None:
        """Help for the present view."""
        from app.ui.screens.base import View
        from app.ui.screens.help import HelpScreen

        if isinstance(self.screen, View):
            active = [item.binding for item in self.screen.active_bindings.values() if not item.binding.system]
            self.push_screen(HelpScreen(self.screen.HELP_FILE, active))

    def show_finding(self, finding: Finding) -> None:
        """Open a finding."""
        from app.ui.screens.dialogs import FindingDialog

        self.push_screen(FindingDialog(finding))

    def show_problem(self, problem: Problem) -> None:
        """Open a fact that could not be had."""
        self.show_error(MoetuneError(f"{problem.source}: {problem.reason}", hint="It is left out of the plans."))

    def show_error(self, error: MoetuneError) -> None:
        """Say what is wrong and what to do."""
        from app.ui.screens.dialogs import ErrorDialog

        self.push_screen(ErrorDialog(error))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette, from the table in `actions`."""
        for command in COMMANDS:
            yield SystemCommand(command.title, command.help, self._runner(command.action))

    def _runner(self, action: str) -> Callable[[], object]:
        return lambda: self.call_later(self.run_action, action, self)

    def action_save_picture(self) -> None:
        """Save the screen as SVG in the current folder."""
        from app.ui.screenshot import save_svg

        path = time.strftime("moetune-%Y%m%d-%H%M%S.svg")
        try:
            save_svg(self, path)
        except OSError as error:
            self.show_error(MoetuneError(f"The picture could not be saved: {error}."))
        else:
            self.notify(f"Saved {path}")

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
            self.post_message(messages.MachineDetected(machine, self.backend.judge(machine)))
            self._find_engines(machine)

    def _find_engines(self, machine: Machine) -> None:
        try:
            found = self.backend.engines(machine)
        except (MoetuneError, OSError) as error:
            self.post_message(messages.EnginesFound((), str(error)))
        else:
            self.post_message(messages.EnginesFound(found))

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

    # -- plan ------------------------------------------------------------------------------------------------------

    @work(thread=True, group="models", exclusive=True, exit_on_error=False, description="Looking for models")
    def find_models(self) -> None:
        """Look for model files in the usual places."""
        from app.ui.model_files import find_models

        found = find_models()
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
        self.request = replace(self.request, model=model) if self.request is not None else PlanRequest(model=model)
        self._solve_request()

    def change_request(
        self,
        *,
        context: int | None = None,
        kv_type: KvType | None = None,
        ubatch: int | None = None,
        ubatch_set: bool = False,
    ) -> None:
        """Change what is asked and solve again."""
        request = self.request
        if request is None:
            return
        if context is not None:
            request = replace(request, workload=replace(request.workload, context=context))
        if kv_type is not None:
            request = replace(request, kv_type=kv_type)
        if ubatch_set:
            request = replace(request, ubatch=ubatch)
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

    # -- engine ----------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what cannot be done now."""
        if action == "launch":
            return True if self.planned is not None and self.plan_error is None else None
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
    root: str = "/",
    planned: PlannedRun | None = None,
    request: PlanRequest | None = None,
    launch_now: bool = False,
    prompts: tuple[str, ...] = (),
) -> int:
    """Run the UI until it is left; the process's exit code."""
    app = MoetuneApp(root=root, planned=planned, request=request, launch_now=launch_now, prompts=prompts)
    result = app.run()
    if app.return_code:
        return app.return_code
    return result if result is not None else ExitCode.OK
