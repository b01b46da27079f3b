"""Is it working, and is it as fast as it should be?"""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.content import Content
from textual.widgets import Digits, Input, Log, Static

from app.resources import ASSETS
from app.ui import live_text
from app.ui.engine import LOG_LINES
from app.ui.screens.base import View
from app.ui.widgets.chart import Chart
from app.ui.widgets.panel import TextPanel
from app.ui.widgets.wrapping import WordWrap

if TYPE_CHECKING:
    from app.errors import MoetuneError
    from app.launch.supervisor import EngineStatus
    from app.telemetry.sample import Sample

PUMP_INTERVAL_S = 0.2
"""How often new log lines and new text are written: in batches, so that a chatty engine costs little."""
ANSWER_CHARACTERS = 8000
"""How much of the conversation is kept on the screen."""
SHOWN_SAMPLES = 600
"""More than the widest chart has room for."""
MIN_ANSWER_COLUMNS = 8
FIGURES = ("decode", "prefill", "first-token", "context")


class Figure(Vertical):
    """One big number with its name above and its small print below."""

    def compose(self) -> ComposeResult:
        """Name, digits, small print."""
        yield Static("", classes="figure-name")
        yield Digits("-", classes="figure-value")
        yield Static("", classes="figure-note")

    def show(self, name: str, value: str, note: str) -> None:
        """Write all three."""
        if (name, value, note) == self.shown:
            return
        self.shown = (name, value, note)
        self.query_one(".figure-name", Static).update(name, layout=False)
        self.query_one(Digits).update(value)
        self.query_one(".figure-note", Static).update(note, layout=False)

    shown = ("", "", "")


class LiveView(View):
    """The engine: state, speed, devices, conversation, log."""

    MODE = "live"
    CSS_PATH = ASSETS / "styles" / "live.tcss"
    AUTO_FOCUS = ""  # no pane and no field takes the keys until one is asked for
    HELP_FILE = "live.md"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "app.stop_engine", "Stop", tooltip="Stop the engine.", id="live.stop"),
        Binding("r", "app.restart_engine", "Start again", tooltip="Start the same plan (again).", id="live.restart"),
        Binding(
            "p,slash",
            "prompt",
            "Prompt",
            key_display="p",
            tooltip="Type something for the engine to answer.",
            id="live.prompt",
        ),
        Binding(
            "escape",
            "cancel",
            "Cancel",
            key_display="Esc",
            tooltip="End the running answer, or leave the prompt.",
            id="live.cancel",
        ),
        Binding("g", "toggle_log", "Log", tooltip="Show the log in place of the answer, and back.", id="live.log"),
        Binding("c", "copy", "Copy URL", tooltip="Put the address for clients on the clipboard.", id="live.copy"),
        *View.ALWAYS,
    ]

    def compose_body(self) -> ComposeResult:
        """Status over figures over charts and devices over the conversation and the log."""
        yield TextPanel(id="status")
        yield Static("", id="notice")
        with Horizontal(id="figures"):
            for name in FIGURES:
                yield Figure(id=f"figure-{name}")
        yield Static("", id="figures-line")
        with Container(id="dashboard"):
            with Vertical(id="charts"):
                yield Chart("decode t/s", id="decode-chart")
                yield Chart("prefill t/s", id="prefill-chart")
            yield TextPanel(id="devices-load")
        with Container(id="panes"):
            with Vertical(id="conversation"):
                yield Log(id="answer", highlight=False)
                yield Input(placeholder="p: type a prompt, Enter sends it", id="prompt")
            yield Log(id="log", max_lines=LOG_LINES, highlight=False)

    def on_mount(self) -> None:
        """Follow the engine."""
        self._written = 0
        self._answer = ""
        self._wrap = WordWrap(80)
        self._last_decode: float | None = None
        self.query_one("#log", Log).border_title = "Engine log"
        self.query_one("#conversation").border_title = "Conversation"
        self.query_one("#devices-load").border_title = "Devices"
        self.watch(self.app, "status", self._show_status)
        self.watch(self.app, "engine_error", self._show_refusal)
        self.watch(self.app, "sample", self._show_sample)
        self.watch(self.app, "timings", self._show_timings)
        self.watch(self.app, "generating", self._show_generating)
        self.set_interval(PUMP_INTERVAL_S, self._pump)
        self.set_interval(1.0, self._tick)
        self.set_focus(None)

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The state's name, also before there is an engine."""
        status = self.moetune.status
        return status.state.name if status is not None else "IDLE"

    def _show_status(self, status: EngineStatus | None) -> None:
        for name in live_text.STATE_WORDS:
            self.set_class(self.state == name, f"-{name.lower()}")
        self._show_clock()
        self._show_notice()
        self._show_sample(self.moetune.sample)
        if self.state != "READY" and self.focused is not None and self.focused.id == "prompt":
            self.set_focus(None)
        self.call_after_refresh(self.query_one("#log", Log).scroll_end, animate=False)
        self.query_one("#prompt", Input).disabled = self.state != "READY"
        self.refresh_bindings()

    def _show_refusal(self, error: MoetuneError | None) -> None:
        self._show_notice()

    def _tick(self) -> None:
        if self.state != "READY":  # then the samples carry the clock along: one redraw, not two
            self._show_clock()

    def _show_clock(self) -> None:
        if not self.is_current:
            return
        app, status = self.moetune, self.moetune.status
        seconds = time.monotonic() - status.since if status is not None else 0.0
        url = status.url if status is not None else None
        label = app.engine.label
        self.query_one("#status", TextPanel).show(
            lambda width: [live_text.status_line(self.state, label, url, seconds, width)]
        )

    def _show_notice(self) -> None:
        notice = self.query_one("#notice", Static)
        content = self._notice()
        notice.display = content is not None
        self.set_class(content is not None, "-noticed")
        if content is not None:
            notice.update(content)

    def _notice(self) -> Content | None:
        app, status, error = self.moetune, self.moetune.status, self.moetune.engine_error
        if self.state in ("IDLE", "EXITED") and error is not None:
            return _failure(error.title, error.message, error.hint)
        if self.state == "EXITED" and app.engine.stop_asked:
            return Content.assemble(
                ("The engine was stopped.\n", "bold"), "Press r to start it again, 2 for another plan."
            )
        if self.state == "EXITED" and status is not None:
            code = f" (exit code {status.exit_code})" if status.exit_code not in (None, 0) else ""
            return _failure("The engine has exited", f"{status.reason or 'It ended.'}{code}", status.hint)
        if self.state == "STARTING":
            return Content.assemble(("The engine is loading the model. ", "bold"), "Its log is below; s stops it.")
        if self.state == "STOPPING":
            return Content.styled("The engine is stopping…", "bold")
        if self.state == "IDLE":
            planned = app.planned
            keys = f"r to start the plan for {planned.plan.model_name}" if planned else "2 to plan a model, then Enter"
            return Content.assemble(("No engine is running.\n", "bold"), f"Press {keys}.")
        return None

    # -- samples ---------------------------------------------------------------------------------------------------

    def _show_sample(self, sample: Sample) -> None:
        if not self.is_current:
            return
        self._show_clock()
        app = self.moetune
        if sample.decode_tps is not None:
            self._last_decode = sample.decode_tps
        values = live_text.figures(sample, self._last_decode, app.timings)
        if self.has_class("-wide") and not self.has_class("-short"):
            for name, (title, value, note) in zip(FIGURES, values, strict=True):
                self.query_one(f"#figure-{name}", Figure).show(title, value, note)
        else:
            self.query_one("#figures-line", Static).update(live_text.figures_line(values), layout=False)
        history = list(islice(reversed(app.engine.history), SHOWN_SAMPLES))[::-1]
        self.query_one("#decode-chart", Chart).show([s.decode_tps for s in history], app.predicted_band)
        self.query_one("#prefill-chart", Chart).show([s.prefill_tps for s in history])
        machine = app.machine_shown
        self.query_one("#devices-load", TextPanel).show(
            lambda width: live_text.device_rows(machine, sample.devices, width)
        )

    def _show_timings(self) -> None:
        self._show_sample(self.moetune.sample)

    def on_screen_resume(self) -> None:
        """Draw what came while another view was shown."""
        self._show_sample(self.moetune.sample)

    def on_resize(self) -> None:
        """The figures change their form with the size."""
        self.call_after_refresh(self._after_resize)

    def _after_resize(self) -> None:
        self._show_sample(self.moetune.sample)
        self._write_answer("")

    # -- text ------------------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Write what has come since the last time. Behind a dialog nothing is drawn: it would cost a whole screen."""
        if not self.is_current:
            return
        engine = self.moetune.engine
        fresh = engine.log_count - self._written
        if fresh:
            log = self.query_one("#log", Log)
            if fresh < 0:
                log.clear()
                fresh = engine.log_count
            lines = list(engine.log)
            log.write_lines([live_text.plain_text(line) for line in lines[max(0, len(lines) - fresh) :]])
            self._written = engine.log_count
        if engine.answer:
            pieces = [engine.answer.popleft() for _ in range(len(engine.answer))]
            self._write_answer("".join(pieces))

    def _write_answer(self, text: str) -> None:
        text = live_text.plain_text(text)
        self._answer = (self._answer + text)[-ANSWER_CHARACTERS:]
        answer = self.query_one("#answer", Log)
        width = answer.scrollable_content_region.width - 1
        if width != self._wrap.width and width >= MIN_ANSWER_COLUMNS:
            self._wrap = WordWrap(width)
            answer.clear()
            text = self._answer
        answer.write(self._wrap.feed(text))
        if not self.moetune.generating:
            answer.write(self._wrap.flush())

    def _show_generating(self, generating: bool) -> None:
        self.set_class(generating, "-generating")
        self._write_answer("")
        self.query_one("#conversation").border_subtitle = "answering… Esc cancels" if generating else ""
        self.refresh_bindings()

    @on(Input.Submitted, "#prompt")
    def _prompt_entered(self, event: Input.Submitted) -> None:
        prompt = event.value.strip()
        if prompt and self.moetune.generate(prompt):
            event.input.value = ""

    # -- keys ------------------------------------------------------------------------------------------------------

    def action_prompt(self) -> None:
        """Go to the prompt."""
        self.remove_class("-log-first")
        # at once, unlike focus(): keys that were typed ahead must not be taken for commands
        self.set_focus(self.query_one("#prompt", Input))

    def action_cancel(self) -> None:
        """End the answer, or leave the prompt."""
        if self.moetune.generating:
            self.moetune.engine.cancel()
        else:
            self.set_focus(None)

    def action_toggle_log(self) -> None:
        """Swap log and conversation where there is room for one."""
        self.set_focus(None)  # Textual would move it from a hidden pane to the prompt, and the keys with it
        self.toggle_class("-log-first")

    def action_copy(self) -> None:
        """Put the address on the clipboard."""
        status = self.moetune.status
        if status is not None and status.url is not None:
            self.app.copy_to_clipboard(live_text.endpoint(status.url))
            self.notify("The address is on the clipboard.")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what makes no sense in this state."""
        if action in ("copy", "prompt", "toggle_log"):
            return True if self.state == "READY" else None
        if action == "cancel":
            return self.moetune.generating or isinstance(self.focused, Input)
        return True


def _failure(title: str, message: str, hint: str) -> Content:
    text = Content.assemble((f"✗ {title}\n", "bold $error"), (message, "bold"))
    keys = ("\nr starts it again · 2 changes the plan", "$muted")
    return Content.assemble(text, f"\n{hint}" if hint else "", keys)
