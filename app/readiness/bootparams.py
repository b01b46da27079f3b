"""A kernel's command line, as the kernel reads it: parsed, changed and compared without losing a word.

The rules are those of `next_arg` and `parameq` in the kernel (lib/cmdline.c, kernel/params.c): white space parts words
unless double quotes hold them together, `-` and `_` are one in names, of a repeated parameter the last one wins, and
what follows a lone `--` belongs to init.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_SPACE = " \t\n\v\f\r"


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was written."""

    text: str

    @property
    def name(self) -> str:
        """What it sets, quotes taken off and dashes turned to underscores: `module.parameter` or a kernel option."""
        return _unquoted(self.text).partition("=")[0].replace("-", "_").strip('"')

    @property
    def value(self) -> str | None:
        """What it is set to, quotes taken off; `None` for a word without `=`."""
        _, equals, value = _unquoted(self.text).partition("=")
        if not equals:
            return None
        return value.removeprefix('"').removesuffix('"') if value.startswith('"') else value

    @property
    def is_open(self) -> bool:
        """A quote in it is never closed: the kernel takes all that follows for a part of it."""
        return self.text.count('"') % 2 == 1


@dataclass(frozen=True, slots=True)
class Diff:
    """What it takes to get from one command line to another."""

    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return bool(self.removed or self.added)

    def inverse(self) -> Diff:
        """The way back."""
        return Diff(self.added, self.removed, self.kept)

    def text(self) -> str:
        """One line a word, `-` and `+` as in a patch, then how many words stay."""
        lines = [f"- {word}" for word in self.removed] + [f"+ {word}" for word in self.added]
        return "\n".join([*lines, f"  ({len(self.kept)} others stay as they are)"])


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The words in their order."""

    words: tuple[Word, ...]

    @classmethod
    def parse(cls, text: str) -> CommandLine:
        """Split a command line; nothing in it is an error."""
        return cls(tuple(Word(word) for word in _split(text)))

    def __str__(self) -> str:
        """The words with one space between them."""
        return " ".join(word.text for word in self.words)

    @property
    def parameters(self) -> tuple[Word, ...]:
        """The words that the kernel reads: those before `--`."""
        return self.words[: self._end]

    def get(self, name: str) -> str | None:
        """The value that counts, the last one; `None` if the name is absent or has no value."""
        return next((word.value for word in reversed(self.parameters) if word.name == normal(name)), None)

    def merge(self, wanted: Mapping[str, str | None], unwanted: Iterable[str] = ()) -> CommandLine:
        """The line with these parameters set and those gone; every other word stays where it is.

        A parameter that is there already keeps the place of its last occurrence, the others are dropped; one that is
        right already keeps its spelling. New ones come last among the kernel's words.

        Args:
            wanted: names and their values; `None` for a word without a value.
            unwanted: names to take out, wherever and with whatever value they stand.
        """
        values = {normal(name): value for name, value in wanted.items()}
        gone = {normal(name) for name in unwanted} - values.keys()
        end, left = self._end, dict(wanted)
        last = {word.name: index for index, word in enumerate(self.words[:end])}
        head: list[Word] = []
        for index, word in enumerate(self.words[:end]):
            if word.name in gone or (word.name in values and last[word.name] != index):
                continue
            if word.name in values:
                spelling = next(name for name in wanted if normal(name) == word.name)
                left.pop(spelling, None)
                if word.value != values[word.name] or word.is_open:
                    word = _word(spelling, values[word.name])
            head.append(word)
        place = len(head) - (1 if head and head[-1].is_open else 0)
        head[place:place] = [_word(name, value) for name, value in left.items()]
        return CommandLine((*head, *self.words[end:]))

    def diff(self, after: CommandLine) -> Diff:
        """The words that go, come and stay, counted: a word that stands twice and then once goes once."""
        before_texts, after_texts = [word.text for word in self.words], [word.text for word in after.words]
        gone, new = Counter(before_texts) - Counter(after_texts), Counter(after_texts) - Counter(before_texts)
        return Diff(
            removed=tuple(_take(before_texts, gone)),
            added=tuple(_take(after_texts, new)),
            kept=tuple(_take(before_texts, Counter(before_texts) & Counter(after_texts))),
        )

    @property
    def _end(self) -> int:
        return next((index for index, word in enumerate(self.words) if word.text == "--"), len(self.words))


def normal(name: str) -> str:
    """A name as the kernel compares it."""
    return name.replace("-", "_")


def is_plain(word: str) -> bool:
    """Whether a word may be put into a command as it is; a line from elsewhere may hold anything."""
    return re.fullmatch(r"[A-Za-z0-9_.,:=+@%/-]+", word) is not None


def number(text: str | None) -> int | None:
    """A module parameter's value as the kernel reads it (C notation: 0x is hexadecimal); `None` for anything else."""
    match = re.fullmatch(r"([+-]?)(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})", text or "")
    if match is None:
        return None
    digits = match[2]
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10
    return int(digits, base) * (-1 if match[1] == "-" else 1)


def _take(texts: Iterable[str], counts: Counter[str]) -> Iterator[str]:
    left = Counter(counts)
    for text in texts:
        if left[text] > 0:
            left[text] -= 1
            yield text


def _word(name: str, value: str | None) -> Word:
    if value is None:
        return Word(name)
    return Word(f'{name}="{value}"' if any(space in value for space in _SPACE) else f"{name}={value}")


def _unquoted(text: str) -> str:
    return text[1:].removesuffix('"') if text.startswith('"') else text


def _split(text: str) -> Iterator[str]:
    word, quoted = "", False
    for character in text.replace("\0", " "):
        if character in _SPACE and not quoted:
            if word:
                yield word
            word = ""
            continue
        quoted ^= character == '"'
        word += character
    if word:
        yield word
