"""Text as people write hardware names, taken apart: words, counts, sizes, and the names that come nearest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

_MARKS = re.compile(r"\((?:r|tm|c)\)|[®™©]", re.IGNORECASE)
_CLOCK = re.compile(r"@?\s*\d+(?:\.\d+)?\s*[gm]hz", re.IGNORECASE)
_WORD = re.compile(r"[a-z0-9]+")
_NUMBERS = {
    "one": 1, "single": 1, "two": 2, "dual": 2, "three": 3, "triple": 3, "four": 4, "quad": 4, "five": 5, "six": 6,
    "seven": 7, "eight": 8,
}  # fmt: skip
_NUMBER_WORD = re.compile(rf"^\s*({'|'.join(_NUMBERS)})\b[\s-]*", re.IGNORECASE)
_LEADING_COUNT = re.compile(r"^\s*(\d{1,2})(?:\s*[x×*]\s*(?=\D|\d{4})|\s+(?=[a-z]{2,}\s*\d))", re.IGNORECASE)
_TRAILING_COUNT = re.compile(r"(?<![\w-])[x×]\s*(\d{1,2})\s*$", re.IGNORECASE)
_SIZE = re.compile(r"(?<![\w.])(?:(\d{1,2})\s*[x×]\s*)?(\d+(?:\.\d+)?)\s*(?:gib|gb|g)(?![a-z0-9])", re.IGNORECASE)

LONGEST_RUN = 7
"""Words that a name has at most: `ryzen threadripper pro 7965 wx`."""


def plain(text: str) -> str:
    """Without trade marks and clocks, which no name is told by."""
    return " ".join(_CLOCK.sub(" ", _MARKS.sub(" ", text)).split())


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits: `max+ 395` is `max`, `395`."""
    return _WORD.findall(text.lower())


def key(text: str) -> str:
    """A name as it is looked up: its letters and digits alone."""
    return "".join(words(text))


def without_brackets(text: str) -> tuple[str, str]:
    """What stands outside brackets, and what stands inside."""
    inside = " ".join(re.findall(r"[(\[]([^)\]]*)[)\]]?", text))
    return re.sub(r"[(\[][^)\]]*[)\]]?", " ", text), inside


def runs(sequence: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Every run of consecutive words, joined: where it starts and ends, and its text; the longest first."""
    for length in range(min(LONGEST_RUN, len(sequence)), 0, -1):
        for start in range(len(sequence) - length + 1):
            yield start, start + length, "".join(sequence[start : start + length])


def leading_number(text: str) -> int | None:
    """The number that a text begins with as a word: `quad-core` has 4."""
    match = _NUMBER_WORD.match(text)
    return _NUMBERS[match[1].lower()] if match else None


def counted(text: str) -> tuple[int | None, str]:
    """The count that a name begins or ends with (`2x`, `dual`, `x2`), and the name without it; `None`: not stated."""
    if match := _LEADING_COUNT.match(text):
        return int(match[1]), text[match.end() :]
    if match := _NUMBER_WORD.match(text):
        return _NUMBERS[match[1].lower()], text[match.end() :]
    if match := _TRAILING_COUNT.search(text):
        return int(match[1]), text[: match.start()]
    return None, text


def sized(text: str) -> tuple[float | None, int | None, str]:
    """The size in GB that a name states (each, where it is written `2x24GB`), that count, and the name without both."""
    match = _SIZE.search(text)
    if match is None:
        return None, None, text
    return float(match[2]), int(match[1]) if match[1] else None, f"{text[: match.start()]} {text[match.end() :]}"


def nearest(text: str, names: Iterable[tuple[str, str]], count: int = 3) -> tuple[str, ...]:
    """What look most like it, best first.

    Args:
        text: what was written.
        names: ways of writing, each with the name that it stands for.
        count: how many at most.
    """
    by_key = {key(written): name for written, name in names}
    found = get_close_matches(key(text), by_key, n=count, cutoff=0.6)
    for piece in words(text):
        if len(found) < count and len(piece) >= 3 and any(sign.isdigit() for sign in piece):
            found += get_close_matches(piece, by_key, n=count, cutoff=0.7)
    return tuple(dict.fromkeys(by_key[one] for one in found))[:count]
