"""What every view shares: the top line, the footer, the notice that the terminal is too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen
from textual.widgets import Static

from app.ui.machine_text import host_text
from app.ui.widgets.key_line import KeyLine
from app.ui.widgets.tab_line import TabLine

if TYPE_CHECKING:
    from app.launch.supervisor import EngineStatus
    from app.ui.app import MoetuneApp
    from detectors.facts import Machine

MIN_COLUMNS, MIN_ROWS = 70, 20


class View(Screen[None]):
    """One of the app's views."""

    MODE: ClassVar[str]
    HELP_FILE: ClassVar[str]
    """Its text under `assets/help`."""
    ALWAYS: ClassVar[list[BindingType]] = [
        Binding(
            "f1,question_mark",
            "app.help",
            "Help",
            key_display="F1",
            tooltip="What is on this screen, and every key.",
            id="app.help",
        ),
        Binding("q", "app.quit", "Quit", tooltip="Stop the engine, if one runs, and leave.", id="app.quit"),
    ]
    """The keys of every view; each lists them last, so that its own keys come first in the footer."""

    def compose(self) -> ComposeResult:
        """The frame around the view's own body."""
        yield TabLine()
        with Container(id="body"):
            yield from self.compose_body()
        yield Static(
            f"The terminal is too small.\nmoetune needs {MIN_COLUMNS} columns and {MIN_ROWS} rows.\nq quits.",
            id="too-small",
        )
        yield KeyLine()

    def compose_body(self) -> ComposeResult:
        """The view's widgets."""
        raise NotImplementedError

    @property
    def moetune(self) -> MoetuneApp:
        """The app, as what it is."""
        from app.ui.app import MoetuneApp

        app = self.app
        assert isinstance(app, MoetuneApp)
        return app

    def on_mount(self) -> None:
        """Keep the top line true."""
        line = self.query_one(TabLine)
        line.active = self.MODE
        self.watch(self.app, "machine", self._show_host)
        self.watch(self.app, "status", self._show_engine)

    def _show_host(self, machine: Machine | None) -> None:
        self.query_one(TabLine).host = host_text(machine)

    def _show_engine(self, status: EngineStatus | None) -> None:
        name = status.state.name.lower() if status is not None else ""
        self.query_one(TabLine).engine = "" if name == "idle" else name
        self.refresh_bindings()
