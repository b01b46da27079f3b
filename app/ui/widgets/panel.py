"""A widget that is a list of text lines made for its width; the base of everything that is drawn here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual.content import Content, Span
from textual.geometry import Size
from textual.widget import Widget

LineMaker = Callable[[int], Sequence[Content]]
"""From a width in cells to the lines to show."""


class Panel(Widget):
    """Draws `lines(width)`, as high as there are lines. A line that is too long ends in an ellipsis."""

    DEFAULT_CSS = "Panel { height: auto; }"

    def lines(self, width: int) -> Sequence[Content]:
        """What to show in `width` cells."""
        raise NotImplementedError

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as there are lines."""
        return len(self.lines(width))

    def render(self) -> Content:
        """The lines, cut to the width there is."""
        width = self.content_size.width
        return Content("\n").join([line.truncate(width, ellipsis=True) for line in self.lines(width)])


class TextPanel(Panel):
    """A panel whose lines come from a function of the width, set with `show`."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._draw: LineMaker = _nothing
        self._shown: tuple[tuple[str, tuple[Span, ...]], ...] = ()

    def show(self, draw: LineMaker) -> None:
        """Draw with this function from now on; what looks the same costs no repaint, the same height no layout."""
        self._draw = draw
        width = self.content_size.width
        if not width:
            self.refresh(layout=True)
            return
        lines = tuple((line.plain, tuple(line.spans)) for line in draw(width))  # contents are equal without their spans
        if lines != self._shown:
            self.refresh(layout=len(lines) != len(self._shown))
            self._shown = lines

    def lines(self, width: int) -> Sequence[Content]:
        """What the function makes."""
        return self._draw(width)


def _nothing(width: int) -> Sequence[Content]:
    return ()
