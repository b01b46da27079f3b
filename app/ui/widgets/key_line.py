"""The bottom line: the keys that work now. One widget, where Textual's footer makes three for each key."""

from __future__ import annotations

from textual.content import Content
from textual.screen import Screen

from app.ui.widgets.panel import Panel


class KeyLine(Panel):
    """Key and meaning of every shown binding, the greyed ones dim; a click presses the key."""

    DEFAULT_CSS = """
    KeyLine { dock: bottom; height: 1; background: $footer-background; padding: 0 1; }
    KeyLine { link-style: none; link-color: $foreground; link-style-hover: underline; }
    """

    def on_mount(self) -> None:
        """Follow the bindings."""
        self._drawn: list[Content] = []
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        before = self._drawn
        if self.is_attached and self.lines(0) != before:
            self.refresh()

    def lines(self, width: int) -> list[Content]:
        """The line; keys of one action stand once."""
        parts: dict[str, Content] = {}
        for _node, binding, enabled, _tooltip in self.screen.active_bindings.values():
            if not binding.show or binding.action in parts:
                continue
            key = self.app.get_key_display(binding)
            style = "bold $footer-key-foreground" if enabled else "$faint"
            text = Content.assemble((key, style), (f" {binding.description}", "" if enabled else "$faint"))
            parts[binding.action] = text.stylize(f"@click=app.press('{binding.key}')") if enabled else text
        self._drawn = [Content("  ").join(parts.values())]
        return self._drawn
