"""Help for the view it was called from: its text from `assets/help`, and every key that works there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Markdown

from app.resources import ASSETS
from app.ui.widgets.key_line import KeyLine

KEY_NAMES = {
    "question_mark": "?",
    "slash": "/",
    "escape": "Esc",
    "enter": "Enter",
    "pagedown": "PgDn",
    "pageup": "PgUp",
}


def key_name(key: str) -> str:
    """A key as it stands on the keyboard."""
    return KEY_NAMES.get(key, key.replace("ctrl+", "Ctrl-").replace("f1", "F1"))


def keys_table(bindings: Iterable[Binding]) -> str:
    """A Markdown table of keys and what they do; keys with one meaning share a row."""
    rows: dict[str, list[str]] = {}
    for binding in bindings:
        meaning = binding.tooltip or binding.description
        if meaning:
            rows.setdefault(meaning, [])
            if (name := key_name(binding.key)) not in rows[meaning]:
                rows[meaning].append(name)
    lines = [f"| {' or '.join(f'`{name}`' for name in names)} | {meaning} |" for meaning, names in rows.items()]
    return "\n".join(["| key | what it does |", "|---|---|", *lines])


class HelpScreen(ModalScreen[None]):
    """The text, then the table of keys.

    Args:
        help_file: name of the text under `assets/help`.
        bindings: what was active where help was asked for.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f1,question_mark,q,enter", "dismiss", "Close", key_display="Esc", id="help.close"),
        Binding("down,j", "scroll_text(2)", "Down", show=False),
        Binding("up,k", "scroll_text(-2)", "Up", show=False),
        Binding("pagedown,space", "scroll_text(12)", "Page down", show=False),
        Binding("pageup", "scroll_text(-12)", "Page up", show=False),
    ]

    def __init__(self, help_file: str, bindings: Iterable[Binding]) -> None:
        super().__init__()
        text = (ASSETS / "help" / help_file).read_text(encoding="utf-8")
        everywhere = (ASSETS / "help" / "everywhere.md").read_text(encoding="utf-8")
        self.text = f"{text}\n## Keys\n\n{keys_table(bindings)}\n\n{everywhere}"

    def compose(self) -> ComposeResult:
        """The whole text in one box."""
        with VerticalScroll(classes="dialog"):
            yield Markdown(self.text)
        yield KeyLine()

    def action_scroll_text(self, rows: int) -> None:
        """Move the text."""
        self.query_one(VerticalScroll).scroll_relative(y=rows, animate=False)
