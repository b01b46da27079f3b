"""The app without its jobs: the state that the screens show, the views and dialogs, and how it starts and ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterable
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
from app.ui.actions import COMMANDS
from app.ui.backend import Backend
from app.ui.crash import ScreenFailedError, write_report
from app.ui.engine import EngineSession
from app.ui.theme import DEFAULT_THEME, themes

if TYPE_CHECKING:
    from pathlib import Path

    from app.jobs.planning import PlannedRun, PlanRequest
    from app.launch.supervisor import EngineStatus
    from app.readiness import Finding
    from app.runtimes.base import Engine
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


class Shell(App[int], inherit_bindings=False):
    """State, views, dialogs, and a clean end.

    Args:
        capture: a captured machine to show and plan for in place of this one.
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
        capture: str | None = None,
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
        self.backend = backend or Backend(capture)
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
        self.set_reactive(Shell.planned, planned)

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
        """What is done as soon as the first frame is there."""
        raise NotImplementedError

    def _start(self, planned: PlannedRun) -> None:
        """Start the engine of a plan."""
        raise NotImplementedError

    def _exit_by_signal(self, number: int) -> None:
        self.exit(return_code=ExitCode(128 + number))

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
