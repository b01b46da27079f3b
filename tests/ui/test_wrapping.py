"""Text that arrives in pieces."""

from __future__ import annotations

import pytest

from app.ui.widgets.wrapping import WordWrap

TEXT = "The moon pulls on the nearer water more than on the Earth below it.\n\nSo there are two tides, not one."


def wrapped(text: str, size: int, width: int) -> str:
    wrap = WordWrap(width)
    pieces = [wrap.feed(text[start : start + size]) for start in range(0, len(text), size)]
    return "".join(pieces) + wrap.flush()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("width", [8, 20, 41])
def test_the_lines_do_not_depend_on_the_pieces(size: int, width: int) -> None:
    lines = wrapped(TEXT, size, width)
    assert lines == wrapped(TEXT, 1000, width)
    assert lines.split() == TEXT.split()
    assert max(len(line.rstrip()) for line in lines.split("\n")) <= width


def test_a_word_is_shown_when_it_is_whole() -> None:
    wrap = WordWrap(20)
    assert wrap.feed("The mo") == "The "
    assert wrap.feed("on ") == "moon "
    assert wrap.flush() == ""


def test_text_without_spaces_is_not_held_back_and_is_cut_at_the_width() -> None:
    wrap = WordWrap(10)
    shown = wrap.feed("x" * 25)
    assert shown == "x" * 10 + "\n" + "x" * 10 + "\n" + "x" * 5


def test_wide_characters_count_twice() -> None:
    assert wrapped("潮汐潮汐潮汐", 6, 8) == "潮汐潮汐\n潮汐"
