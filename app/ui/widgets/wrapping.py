"""Wrapping text that arrives piece by piece, so that a growing answer needs no new layout of the screen."""

from __future__ import annotations

import re

from rich.cells import cell_len, chop_cells

MAX_HELD = 24
"""A word that gets longer than this while it arrives is shown before it ends: scripts without spaces."""

_TOKENS = re.compile(r"\n|[^\S\n]+|\S+")


class WordWrap:
    """Breaks a stream of text into lines of at most `width` cells, at words where that is possible."""

    def __init__(self, width: int) -> None:
        self.width = max(8, width)
        self._column = 0
        self._held = ""

    def feed(self, text: str) -> str:
        """What can be shown now. The last word is held back until it is whole, or `flush` is called."""
        text = self._held + text
        end = max(text.rfind(" "), text.rfind("\n")) + 1
        if len(text) - end > MAX_HELD:
            end = len(text)
        self._held = text[end:]
        return self._wrapped(text[:end])

    def flush(self) -> str:
        """What was held back."""
        held, self._held = self._held, ""
        return self._wrapped(held)

    def _wrapped(self, text: str) -> str:
        return "".join(self._placed(token) for token in _TOKENS.findall(text))

    def _placed(self, token: str) -> str:
        if token == "\n":
            self._column = 0
            return token
        cells = cell_len(token)
        if self._column + cells <= self.width:
            self._column += cells
            return token
        if token.isspace():
            self._column = 0
            return "\n"
        pieces = chop_cells(token, self.width)
        lead = "\n" if self._column else ""
        self._column = cell_len(pieces[-1])
        return lead + "\n".join(pieces)
