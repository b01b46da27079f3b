"""Turning the bytes of tokens into text as they come: whole characters only, and nothing past a stop word."""

from __future__ import annotations

import codecs


class TextStream:
    """Collects the pieces of one generation.

    Args:
        stops: the words that end it; they do not become part of the text.
    """

    def __init__(self, stops: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = stops
        self._held = ""
        self.stopping_word = ""
        """The stop word that was met."""
        self.has_new_line = False

    def feed(self, piece: bytes) -> str | None:
        """Take a piece; return the text that is certain now, `None` where a character or word is incomplete."""
        fresh = self._decoder.decode(piece)
        if not fresh and self._decoder.getstate()[0]:
            return None
        return self._release(self._held + fresh, at_end=False)

    def close(self) -> str:
        """What is left when the generation ends; a cut character becomes U+FFFD."""
        if self.stopping_word:
            return ""
        return self._release(self._held + self._decoder.decode(b"", final=True), at_end=True) or ""

    def _release(self, text: str, *, at_end: bool) -> str | None:
        self._held = ""
        hits = [(text.find(stop), stop) for stop in self._stops if stop in text]
        if hits:
            position, self.stopping_word = min(hits)
            text = text[:position]
        elif not at_end and (keep := self._possible_stop(text)):
            text, self._held = text[:-keep], text[-keep:]
            if not text:
                return None
        self.has_new_line = self.has_new_line or "\n" in text
        return text

    def _possible_stop(self, text: str) -> int:
        """How many characters at the end could be the start of a stop word."""
        longest = 0
        for stop in self._stops:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
