from __future__ import annotations

from app.runtimes.embedded.text import TextStream


def test_character_over_two_tokens_comes_whole() -> None:
    text = TextStream()
    smile = "😀".encode()
    assert text.feed(smile[:2]) is None
    assert text.feed(smile[2:3]) is None
    assert text.feed(smile[3:] + b"!") == "😀!"
    assert text.close() == ""


def test_cut_character_becomes_the_replacement() -> None:
    text = TextStream()
    assert text.feed(b"a\xf0\x9f") == "a"
    assert text.close() == "\ufffd"


def test_control_token_is_an_empty_text() -> None:
    assert TextStream().feed(b"") == ""


def test_stop_word_over_two_tokens_is_held_back() -> None:
    text = TextStream(("<end>",))
    assert text.feed(b"yes <") == "yes "
    assert text.feed(b"en") is None
    assert text.feed(b"d> more") == ""
    assert text.stopping_word == "<end>"
    assert text.close() == ""


def test_what_only_looked_like_a_stop_word_is_released() -> None:
    text = TextStream(("<end>",))
    assert text.feed(b"a<e") == "a"
    assert text.feed(b"gg") == "<egg"
    assert text.feed(b"<en") is None
    assert text.close() == "<en"


def test_earliest_stop_word_wins() -> None:
    text = TextStream(("b", "a"))
    assert text.feed(b"xyab") == "xy"
    assert text.stopping_word == "a"
