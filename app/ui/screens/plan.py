"""What will it do, how fast, and why?"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from app.errors import NoFitError
from app.resources import ASSETS
from app.ui import plan_text
from app.ui.model_files import PathSuggester
from app.ui.screens.base import View
from app.ui.widgets.knob import Knob
from app.ui.widgets.panel import TextPanel
from app.units import count_text

if TYPE_CHECKING:
    from pathlib import Path

    from app.errors import MoetuneError
    from app.jobs.planning import PlannedRun, PlanRequest
    from app.solver.model import KvType

CONTEXTS = (2048, 4096, 8192, 16384, 24576, 32768, 49152, 65536, 98304, 131072, 196608, 262144, 524288, 1048576)
KV_TYPES: tuple[KvType | None, ...] = (None, "q4_0", "q8_0", "f16")
"""The solver's choice, then coarse to exact: right means better and larger."""
UBATCHES = (None, 128, 256, 512, 1024, 2048, 4096)
NO_MODELS = (
    "No GGUF file was found in the usual places (this folder, ~/models, the caches of Hugging Face and llama.cpp).\n"
    "To try moetune without a download: `moetune slice demo` in another terminal writes a small one here."
)
SECTIONS = (
    ("placement", "Where it goes"),
    ("memory", "Memory"),
    ("speed", "Predicted speed"),
    ("others", "What else was tried"),
    ("notes", "Worth knowing"),
    ("command", "The command (c copies it)"),
)


def contexts_for(longest: int, current: int) -> tuple[int, ...]:
    """The contexts that a knob offers: the usual ones up to what the model was trained for, and the present one."""
    usual = {context for context in CONTEXTS if context <= longest or longest <= 0}
    return tuple(sorted(usual | {current} | ({longest} if longest > 0 else set())))


def _section(name: str, heading: str) -> TextPanel:
    panel = TextPanel(id=name, classes="section")
    panel.border_title = heading
    return panel


class PlanView(View):
    """The model, the knobs, the plan."""

    MODE = "plan"
    CSS_PATH = ASSETS / "styles" / "plan.tcss"
    HELP_FILE = "plan.md"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter,l",
            "app.launch",
            "Launch",
            key_display="⏎",
            tooltip="Start the engine with this plan.",
            id="plan.launch",
        ),
        Binding("left,right", "focus_knob", "Knobs", show=False, id="plan.knob"),
        Binding("o", "choose_model", "Model", tooltip="Choose another model file.", id="plan.model"),
        Binding("c", "copy", "Copy command", tooltip="Put the command line on the clipboard.", id="plan.copy"),
        Binding("down,j", "scroll(2)", "Down", show=False, id="plan.down"),
        Binding("up,k", "scroll(-2)", "Up", show=False, id="plan.up"),
        Binding("pagedown,space", "scroll(12)", "Page down", show=False, id="plan.page-down"),
        Binding("pageup", "scroll(-12)", "Page up", show=False, id="plan.page-up"),
        Binding(
            "escape",
            "back",
            "Leave the field",
            key_display="Esc",
            tooltip="Back to the plan, or out of the path field.",
            id="plan.back",
        ),
        *View.ALWAYS,
    ]

    def compose_body(self) -> ComposeResult:
        """The chooser and the plan; one of them is shown."""
        with Vertical(id="chooser"):
            yield Static(
                "Which model? A GGUF file's path, or a name like gpt-oss-120b. Enter plans it, Esc leaves the field.",
                classes="heading",
            )
            yield Input(
                placeholder="/path/to/model.gguf, or gpt-oss-120b   (→ completes)",
                suggester=PathSuggester(),
                id="model-path",
            )
            yield Static("", id="model-error")
            yield Static("looking for models in the usual places…", id="models-title", classes="heading")
            yield OptionList(id="models")
        with Vertical(id="plan"):
            yield Static("", id="plan-title")
            with Horizontal(id="knobs"):
                yield Knob("context", (8192,), 8192, count_text, id="context")
                yield Knob("KV", KV_TYPES, None, self._kv_text, id="kv")
                yield Knob("ubatch", UBATCHES, None, self._ubatch_text, id="ubatch")
                yield Static("", id="solving")
            yield Static("", id="plan-error")
            with VerticalScroll(id="sections", can_focus=False):
                with Container(id="columns"):
                    with Vertical(classes="column"):
                        yield _section(*SECTIONS[0])
                        yield _section(*SECTIONS[1])
                    with Vertical(classes="column"):
                        yield _section(*SECTIONS[2])
                for section in SECTIONS[3:]:
                    yield _section(*section)

    def on_mount(self) -> None:
        """Follow what the app knows."""
        self.watch(self.app, "planned", self._show_plan)
        self.watch(self.app, "plan_error", self._show_error)
        self.watch(self.app, "solving", self._show_solving)
        self.watch(self.app, "models", self._show_models)
        self.choosing = self.moetune.request is None
        if self.choosing:
            self.moetune.find_models()
        self._arrange()

    # -- choosing a model ------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        self.set_class(self.choosing, "-choosing")
        if self.choosing:
            self.query_one("#model-path", Input).focus()
        else:
            self.query_one("#context", Knob).focus()
        self.refresh_bindings()

    def action_choose_model(self) -> None:
        """Ask for a model file."""
        self.choosing = True
        self.moetune.find_models()
        self._arrange()

    def action_back(self) -> None:
        """Leave the path field: to the plan, or so that the digits work as keys."""
        if self.choosing and self.moetune.planned is not None:
            self.choosing = False
            self._arrange()
        else:
            self.set_focus(None)

    def _show_models(self, models: tuple[Path, ...] | None) -> None:
        listed = self.query_one("#models", OptionList)
        listed.clear_options()
        listed.add_options([Option(Content(str(path))) for path in models or ()])
        listed.highlighted = 0 if models else None
        heading = "Found in the usual places (Tab, then Enter):" if models else NO_MODELS
        if models is not None:
            self.query_one("#models-title", Static).update(heading)
        listed.display = bool(models)

    @on(Input.Submitted, "#model-path")
    def _path_entered(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.moetune.plan_model(event.value.strip())

    @on(OptionList.OptionSelected, "#models")
    def _model_chosen(self, event: OptionList.OptionSelected) -> None:
        models = self.moetune.models or ()
        path = str(models[event.option_index])
        self.query_one("#model-path", Input).value = path
        self.moetune.plan_model(path)

    # -- the plan --------------------------------------------------------------------------------------------------

    def _show_plan(self, planned: PlannedRun | None) -> None:
        if planned is None:
            return
        if self.choosing:
            self.choosing = False
            self._arrange()
        self.query_one("#sections").display = True
        self.query_one("#plan-title", Static).update(Content(plan_text.title(planned)))
        draws = {
            "placement": plan_text.placement_lines,
            "memory": plan_text.memory_lines,
            "speed": plan_text.speed_lines,
            "others": plan_text.alternative_lines,
            "notes": plan_text.note_lines,
        }
        for name, draw in draws.items():
            self.query_one(f"#{name}", TextPanel).show(lambda width, draw=draw: draw(planned, width))  # type: ignore[misc]
        self.query_one("#command", TextPanel).show(lambda width: plan_text.command_lines(planned.command, width))
        self.query_one("#notes").display = bool(planned.plan.notes)
        self._show_solving(self.moetune.solving)
        self._show_knobs(planned.request, planned.shape.context_length)

    def _show_knobs(self, request: PlanRequest, longest: int) -> None:
        context = request.workload.context
        self.query_one("#context", Knob).offer(contexts_for(longest, context), context)
        kv_types = KV_TYPES if request.kv_type in KV_TYPES else (*KV_TYPES, request.kv_type)
        self.query_one("#kv", Knob).offer(kv_types, request.kv_type)
        ubatches = UBATCHES if request.ubatch in UBATCHES else (*UBATCHES, request.ubatch)
        self.query_one("#ubatch", Knob).offer(ubatches, request.ubatch)

    def _kv_text(self, value: KvType | None) -> str:
        if value is not None:
            return value
        planned = self.moetune.planned
        return f"auto {planned.plan.parameters.kv_type_k}" if planned is not None else "auto"

    def _ubatch_text(self, value: int | None) -> str:
        if value is not None:
            return str(value)
        planned = self.moetune.planned
        return f"auto {planned.plan.parameters.ubatch}" if planned is not None else "auto"

    def _show_error(self, error: MoetuneError | None) -> None:
        request = self.moetune.request
        if error is not None and request is not None:
            self._show_failing(request, adjustable=isinstance(error, NoFitError))
        where = "#model-error" if self.choosing else "#plan-error"
        for name in ("#model-error", "#plan-error"):
            box = self.query_one(name, Static)
            box.display = error is not None and name == where
            if error is not None:
                hint = f"\n{error.hint}" if error.hint else ""
                box.update(Content.assemble((f"✗ {error.title}: ", "bold $error"), error.message, (hint, "$muted")))
        self._show_solving(self.moetune.solving)
        self.query_one("#sections").set_class(error is not None, "-stale")
        self.refresh_bindings()

    def _show_failing(self, request: PlanRequest, *, adjustable: bool) -> None:
        """Keep the knobs where they may help; where the model itself cannot be used, ask for another."""
        planned = self.moetune.planned
        same = planned is not None and planned.request.model == request.model
        if not same:
            self.choosing = not adjustable
            self.query_one("#plan-title", Static).update(Content(request.model))
            self._show_knobs(request, 0)
            self._arrange()
        self.query_one("#sections").display = same

    def _show_solving(self, solving: bool) -> None:
        planned = self.moetune.planned
        current = planned is not None and self.moetune.plan_error is None
        done = plan_text.headline(planned) if planned is not None and current else Content("")
        self.query_one("#solving", Static).update(Content.styled("solving…", "$muted") if solving else done)
        if solving and self.choosing:
            self.query_one("#model-error", Static).update("reading the model and solving…")
            self.query_one("#model-error").display = True
        elif self.choosing and self.moetune.plan_error is None:
            self.query_one("#model-error").display = False

    @on(Knob.Changed)
    def _knob_turned(self, event: Knob.Changed) -> None:
        request = self.moetune.request
        if request is None:
            return
        if event.knob.id == "context":
            workload = replace(request.workload, context=cast("int", event.value))
            self.moetune.change_request(replace(request, workload=workload))
        elif event.knob.id == "kv":
            self.moetune.change_request(replace(request, kv_type=cast("KvType | None", event.value)))
        else:
            self.moetune.change_request(replace(request, ubatch=cast("int | None", event.value)))

    def on_descendant_focus(self) -> None:
        """What can be done depends on where the cursor is."""
        self.refresh_bindings()

    def on_descendant_blur(self) -> None:
        """As above."""
        self.refresh_bindings()

    def action_focus_knob(self) -> None:
        """With no knob focused, the arrows go to the first."""
        if not self.choosing:
            self.query_one("#context", Knob).focus()

    def action_scroll(self, rows: int) -> None:
        """Move the sections."""
        self.query_one("#sections", VerticalScroll).scroll_relative(y=rows, animate=False)

    def action_copy(self) -> None:
        """Put the command on the clipboard."""
        planned = self.moetune.planned
        if planned is not None:
            self.app.copy_to_clipboard(plan_text.command_text(planned.command))
            self.notify("The command is on the clipboard.")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Grey out what needs a plan while there is none."""
        if action == "back":
            return self.choosing and self.focused is not None
        if action in ("copy", "launch", "focus_knob", "choose_model"):
            if self.choosing:
                return False
            if action == "copy":
                return True if self.moetune.planned is not None else None
        return True

    choosing = False
