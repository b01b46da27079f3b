"""A value that is turned with the left and right keys: `‹ context 96K ›`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget


class Knob(Widget, can_focus=True):
    """One of several values, changed in place.

    Args:
        label: what it is.
        values: what it can be, in order; the first at the left stop.
        text: how a value is written.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", "Less", show=False, tooltip="Turn the focused knob down.", id="knob.less"),
        Binding(
            "right",
            "turn(1)",
            "Turn",
            key_display="←→",
            tooltip="Turn the focused knob up; Tab goes to the next.",
            id="knob.more",
        ),
    ]
    DEFAULT_CSS = """
    Knob { width: auto; height: 1; color: $foreground; margin-right: 1; }
    Knob:hover { background: $panel; }
    Knob:focus { background: $primary; color: $background; text-style: bold; }
    """

    @dataclass
    class Changed(Message):
        """The person turned a knob."""

        knob: Knob
        value: object

        @property
        def control(self) -> Knob:
            """The knob, for `@on` selectors."""
            return self.knob

    def __init__(
        self,
        label: str,
        values: Sequence[object],
        value: object,
        text: Callable[[Any], str] = str,
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.label = label
        self.text = text
        self.values = tuple(values)
        self.value = value

    def offer(self, values: Sequence[object], value: object) -> None:
        """Set what it can be and what it is, without a message."""
        self.values, self.value = tuple(values), value
        self.refresh(layout=True)

    def action_turn(self, steps: int) -> None:
        """Move by so many values; nothing happens at a stop."""
        index = self.values.index(self.value) if self.value in self.values else 0
        target = min(len(self.values) - 1, max(0, index + steps))
        if self.values and self.values[target] != self.value:
            self.value = self.values[target]
            self.refresh(layout=True)
            self.post_message(self.Changed(self, self.value))

    def on_click(self, event: events.Click) -> None:
        """The left half turns down, the right half up."""
        self.action_turn(1 if event.x >= self.size.width // 2 else -1)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """As wide as its text."""
        return len(self._content().plain)

    def render(self) -> Content:
        """Its text; an arrow is blank at a stop."""
        return self._content()

    def _content(self) -> Content:
        lower = "‹" if self.values and self.value != self.values[0] else " "
        higher = "›" if self.values and self.value != self.values[-1] else " "
        return Content(f" {lower} {self.label} {self.text(self.value)} {higher} ")
