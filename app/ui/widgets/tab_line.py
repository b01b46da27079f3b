"""The top line of every screen: the name, the views with their digits, the machine."""

from __future__ import annotations

from textual.content import Content
from textual.reactive import reactive

from app.ui.widgets.panel import Panel

VIEWS = (("1", "machine", "Machine"), ("2", "plan", "Plan"), ("3", "live", "Live"))
"""Key, mode and name of each view, in order."""


class TabLine(Panel):
    """`moetune  1 Machine  2 Plan  3 Live ● ready      host · distribution · kernel`."""

    DEFAULT_CSS = """
    TabLine { dock: top; height: 1; background: $surface; padding: 0 1; }
    TabLine { link-style: none; link-style-hover: underline; link-color: $muted; }
    """

    active = reactive("")
    engine = reactive("")
    """The engine's state in a word; empty without one."""
    host = reactive("")

    def lines(self, width: int) -> list[Content]:
        """The line; the host gives way first."""
        tabs = [Content.styled("moetune", "bold $accent"), Content("  ")]
        for key, mode, name in VIEWS:
            style = "bold reverse $primary" if mode == self.active else "$muted"
            text = f" {key} {name} "
            tabs.append(Content.styled(text, style).stylize(f"@click=app.show_mode('{mode}')"))
            if mode == "live" and self.engine:
                glyph, style = {"ready": ("●", "$success"), "exited": ("■", "$error")}.get(
                    self.engine, ("◐", "$warning")
                )
                tabs.append(Content.styled(f" {glyph} {self.engine}", style))
        left = Content("").join(tabs)
        room = width - left.cell_length - 2
        right = Content(self.host).truncate(max(0, room), ellipsis=True) if room > 8 else Content("")
        gap = max(0, width - left.cell_length - right.cell_length)
        return [Content.assemble(left, " " * gap, right.stylize("$muted"))]
