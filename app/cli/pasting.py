"""A command over several lines that a shell takes as one when it is pasted."""

from __future__ import annotations

from collections.abc import Sequence

_END = " \\"


def wrapped_command(words: Sequence[str], width: int) -> list[str]:
    r"""Lines of at most `width` cells, each but the last ending in a backslash.

    An option stays with its value. A word that is longer than a line is cut: its quotes are closed, and what follows
    begins the next line without a blank, so that the shell joins both.

    Args:
        words: of the command, each quoted for a shell already.
        width: cells of a line.
    """
    lines: list[str] = []
    current = ""
    for group in _groups(words):
        if current and len(current) + 1 + len(group) + len(_END) <= width:
            current += f" {group}"
            continue
        if current:
            lines.append(current + _END)
        pieces = _cut(f"  {group}" if lines else group, width)
        lines += [piece + "\\" for piece in pieces[:-1]]
        current = pieces[-1]
    return [*lines, current]


def _groups(words: Sequence[str]) -> list[str]:
    """Options with their values, other words alone."""
    groups: list[str] = []
    for word in words:
        if groups and not word.startswith("-") and groups[-1].startswith("-") and " " not in groups[-1]:
            groups[-1] += f" {word}"
        else:
            groups.append(word)
    return groups


def _cut(text: str, width: int) -> list[str]:
    """The text in pieces that fit a line with a backslash; a cut is never inside an escape of single quotes."""
    pieces = []
    while len(text) > width - len(_END):
        at, inside = _place(text, width - len(_END) - 1)
        if at <= 2:
            break
        pieces.append(text[:at] + ("'" if inside else ""))
        text = ("'" if inside else "") + text[at:]
    return [*pieces, text]


def _place(text: str, most: int) -> tuple[int, bool]:
    """Where to cut, at most so far in, and whether that is inside single quotes.

    Double quotes, with which shlex writes a single quote, are not cut; outside quotes a cut goes only behind a
    character that means nothing to a shell.
    """
    quote, best, inside, rank = "", 0, False, 0
    for index, character in enumerate(text[:most]):
        if character == quote:
            quote = ""
        elif not quote and character in "'\"":
            quote = character
        elif quote == "'" or (not quote and character.isalnum() and text[index + 1 : index + 2] not in (" ", "")):
            # In the last third of a line, a place between alternatives or folders reads better than one in a word.
            better = 1 + (character in "|)]/;," and index > most * 2 // 3)
            if better >= rank:
                best, inside, rank = index + 1, bool(quote), better
    return best, inside
