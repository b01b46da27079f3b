"""What stands in front of a view until it is answered: a finding, a question, an error, an engine left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from app.ui.machine_text import SEVERITIES
from app.ui.widgets.key_line import KeyLine

if TYPE_CHECKING:
    from app.errors import MoetuneError
    from app.launch.ownership import EngineRecord
    from app.readiness import Finding

OrphanChoice = Literal["stop", "adopt", "leave"]


class FindingDialog(ModalScreen[None]):
    """All about one finding: what was seen, why it matters, how to mend it, undo it and check it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy the fix", id="finding.copy"),
        Binding("escape,enter,q", "dismiss", "Close", key_display="Esc", id="dialog.close"),
    ]

    def __init__(self, finding: Finding) -> None:
        super().__init__()
        self.finding = finding

    def compose(self) -> ComposeResult:
        """One section for each part that the finding has."""
        finding = self.finding
        word, style = SEVERITIES[finding.severity]
        sections = [("Seen", finding.evidence, ""), ("Why it matters", finding.reason, "")]
        if finding.fix is not None:
            reboot = " (needs a reboot)" if finding.fix.reboot else ""
            sections += [
                (f"Fix{reboot}", finding.fix.text, "code"),
                ("Undo", finding.fix.undo, "code"),
                ("Check that it worked", finding.fix.verify, "code"),
            ]
        with VerticalScroll(classes="dialog"):
            yield Static(Content.assemble((word.strip(), style), "  ", (finding.title, "bold")), classes="dialog-title")
            for heading, text, kind in sections:
                if text:
                    yield Static(heading, classes="heading")
                    yield Static(Content(text), classes=kind or "text")
            if finding.fix is None:
                yield Static("There is nothing to mend here.", classes="heading")
        yield KeyLine()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing to copy without a fix."""
        return None if action == "copy" and self.finding.fix is None else True

    def action_copy(self) -> None:
        """Put the fix's commands on the clipboard."""
        if self.finding.fix is not None:
            self.app.copy_to_clipboard(self.finding.fix.text)
            self.notify("The fix is on the clipboard.")


class ErrorDialog(ModalScreen[None]):
    """One error: what is wrong, and what to do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,space", "dismiss", "Close", key_display="Enter", id="dialog.close"),
    ]

    def __init__(self, error: MoetuneError) -> None:
        super().__init__()
        self.error = error

    def compose(self) -> ComposeResult:
        """Title, sentence, hint."""
        with Vertical(classes="dialog small -error"):
            yield Static(Content(f"✗ {self.error.title}"), classes="dialog-title")
            yield Static(Content(self.error.message), classes="text")
            if self.error.hint:
                yield Static("What to do", classes="heading")
                yield Static(Content(self.error.hint), classes="text")
        yield KeyLine()


class QuestionDialog(ModalScreen[bool]):
    """A question with yes and no."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", id="question.yes"),
        Binding("n,escape", "answer(False)", "No", key_display="n", id="question.no"),
    ]

    def __init__(self, question: str, yes: str, no: str = "No") -> None:
        super().__init__()
        self.question, self.yes, self.no = question, yes, no

    def compose(self) -> ComposeResult:
        """The question over its two buttons."""
        with Vertical(classes="dialog small"):
            yield Static(Content(self.question), classes="text")
            with Horizontal(classes="buttons"):
                yield Button(f"y  {self.yes}", id="yes", variant="primary")
                yield Button(f"n  {self.no}", id="no")
        yield KeyLine()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A pressed button is the answer."""
        self.action_answer(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        """Close with this answer."""
        self.dismiss(answer)


class OrphanDialog(ModalScreen[OrphanChoice]):
    """An engine was found whose moetune is gone: what shall become of it?"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "choose('adopt')", "Adopt it", id="orphan.adopt"),
        Binding("s", "choose('stop')", "Stop it", id="orphan.stop"),
        Binding("l,escape", "choose('leave')", "Leave it", key_display="l", id="orphan.leave"),
    ]

    def __init__(self, record: EngineRecord) -> None:
        super().__init__()
        self.record = record

    def compose(self) -> ComposeResult:
        """What runs, and the three choices."""
        record = self.record
        text = (
            f"{record.label} still answers at {record.url} (process {record.pid}, started {record.started_at})."
            " The moetune that started it has gone."
        )
        with Vertical(classes="dialog small"):
            yield Static("An engine was left running", classes="dialog-title")
            yield Static(Content(text), classes="text")
            with Horizontal(classes="buttons"):
                yield Button("a  Adopt it", id="adopt", variant="primary")
                yield Button("s  Stop it", id="stop", variant="error")
                yield Button("l  Leave it", id="leave")
        yield KeyLine()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A pressed button is the choice."""
        self.action_choose(event.button.id or "leave")

    def action_choose(self, choice: str) -> None:
        """Close with this choice."""
        self.dismiss("adopt" if choice == "adopt" else "stop" if choice == "stop" else "leave")
