"""The bottom line: the keys that work now. One widget, where Textual's footer makes three for each key."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.screen import Screen

from app.ui.widgets.panel import Panel

GAP = "  "


@dataclass(frozen=True, slots=True)
class KeyHint:
    """One key, as it is shown."""

    key: str
    """As a key event names it."""
    shown: str
    meaning: str
    enabled: bool

    @property
    def text(self) -> str:
        """`q Quit`."""
        return f"{self.shown} {self.meaning}"


class KeyLine(Panel):
    """Key and meaning of every shown binding, the greyed ones dim; a click presses the key."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; padding: 0 1; }
    """

    def on_mount(self) -> None:
        """Follow the bindings."""
        self._drawn: list[KeyHint] = []
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if self.is_attached and self.hints() != self._drawn:
            self.refresh()

    def hints(self) -> list[KeyHint]:
        """The keys that are shown now; keys of one action stand once."""
        found: dict[str, KeyHint] = {}
        for _node, binding, enabled, _tooltip in self.screen.active_bindings.values():
            if binding.show and binding.action not in found:
                shown = self.app.get_key_display(binding)
                found[binding.action] = KeyHint(binding.key, shown, binding.description, enabled)
        return list(found.values())

    def lines(self, width: int) -> list[Content]:
        """The line."""
        self._drawn = self.hints()
        return [Content(GAP).join([_content(hint) for hint in self._drawn])]

    def on_click(self, event: events.Click) -> None:
        """Press the key under the pointer."""
        left = self.content_region.x - self.region.x
        for hint in self._drawn:
            right = left + len(hint.text)
            if left <= event.x < right and hint.enabled:
                self.app.simulate_key(hint.key)
            left = right + len(GAP)


def _content(hint: KeyHint) -> Content:
    if not hint.enabled:
        return Content.styled(hint.text, "$faint")
    return Content.assemble((hint.shown, "bold $footer-key-foreground"), f" {hint.meaning}")
