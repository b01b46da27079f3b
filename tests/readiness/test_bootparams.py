from __future__ import annotations

import random

import pytest

from app.readiness.bootparams import CommandLine, Diff, Word, is_plain, normal, number

NAMES = ("quiet", "ro", "console", "ttm.pages_limit", "ttm.pages-limit", "amdgpu.gttsize", "iommu", "--", "a-b.c_d")
VALUES = (None, "", "1", "0x10", "pt", '"two words"', "a=b", "tty0,115200", "é\u00a0x")


def _random_line(rng: random.Random) -> str:
    words = []
    for _ in range(rng.randrange(12)):
        name, value = rng.choice(NAMES), rng.choice(VALUES)
        word = name if value is None or name == "--" else f"{name}={value}"
        words.append(f'"{word}"' if rng.random() < 0.1 and '"' not in word else word)
    if rng.random() < 0.1:
        words.append('last="never closed')
    return rng.choice((" ", "  ", "\t")).join(words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiet", [("quiet", None)]),
        ("ttm.pages-limit=5", [("ttm.pages_limit", "5")]),
        ('a="b c" d', [("a", "b c"), ("d", None)]),
        ('"a=b c" d', [("a", "b c"), ("d", None)]),
        ("a=b=c", [("a", "b=c")]),
        ("a=", [("a", "")]),
        ("a\tb\nc", [("a", None), ("b", None), ("c", None)]),
        ("a -- b", [("a", None)]),
        ('a="b c', [("a", "b c")]),
        ("", []),
        ("a\0", [("a", None)]),
    ],
)
def test_words_are_read_as_the_kernel_reads_them(text: str, expected: list[tuple[str, str | None]]) -> None:
    assert [(word.name, word.value) for word in CommandLine.parse(text).parameters] == expected


def test_the_last_of_a_repeated_parameter_counts() -> None:
    line = CommandLine.parse("ttm.pages_limit=1 ttm.pages-limit=2 -- ttm.pages_limit=3")
    assert line.get("ttm.pages_limit") == "2"


def test_parsing_and_printing_agree() -> None:
    rng = random.Random(1)
    for _ in range(3000):
        line = CommandLine.parse(_random_line(rng))
        assert CommandLine.parse(str(line)) == line


def test_merging_keeps_every_other_word_in_its_order() -> None:
    rng = random.Random(2)
    for _ in range(3000):
        line = CommandLine.parse(_random_line(rng))
        wanted = {rng.choice(("ttm.pages_limit", "amd_iommu", "a_b.c_d")): rng.choice(("7", "off", None))}
        unwanted = rng.sample(("amdgpu.gttsize", "iommu", "amdgpu.gtt-size"), rng.randrange(3))
        merged = line.merge(wanted, unwanted)
        touched = {normal(name) for name in (*wanted, *unwanted)}

        def others(some: CommandLine, touched: set[str] = touched) -> list[str]:
            end = len(some.parameters)
            return [w.text for w in some.parameters if w.name not in touched] + [w.text for w in some.words[end:]]

        assert others(merged) == others(line)
        for name, value in wanted.items():
            assert [word.value for word in merged.parameters if word.name == normal(name)] == [value]
        assert not [word for word in merged.parameters if word.name in {normal(name) for name in unwanted}]
        assert merged.merge(wanted, unwanted) == merged
        assert CommandLine.parse(str(merged)) == merged


def test_a_difference_and_its_words_make_both_lines() -> None:
    rng = random.Random(3)
    for _ in range(2000):
        before, after = CommandLine.parse(_random_line(rng)), CommandLine.parse(_random_line(rng))
        diff = before.diff(after)
        assert sorted(diff.kept + diff.removed) == sorted(word.text for word in before.words)
        assert sorted(diff.kept + diff.added) == sorted(word.text for word in after.words)
        assert bool(diff) == (sorted(diff.kept + diff.removed) != sorted(diff.kept + diff.added))
        assert after.diff(before).removed == diff.added


def test_a_right_parameter_keeps_its_spelling_and_place() -> None:
    line = CommandLine.parse("a ttm.pages-limit=5 b")
    assert str(line.merge({"ttm.pages_limit": "5"})) == "a ttm.pages-limit=5 b"
    assert str(line.merge({"ttm.pages_limit": "6"})) == "a ttm.pages_limit=6 b"


def test_new_words_come_before_those_of_init_and_before_an_open_quote() -> None:
    assert str(CommandLine.parse("a -- b").merge({"c": "1"})) == "a c=1 -- b"
    assert str(CommandLine.parse('a="b c').merge({"c": "1"})) == 'c=1 a="b c'


def test_values_with_spaces_are_quoted() -> None:
    assert str(CommandLine.parse("").merge({"a": "b c"})) == 'a="b c"'


def test_a_difference_is_told_word_by_word() -> None:
    diff = Diff(removed=("a=1",), added=("a=2",), kept=("ro", "quiet"))
    assert diff.text() == "- a=1\n+ a=2\n  (2 others stay as they are)"
    assert diff.inverse() == Diff(removed=("a=2",), added=("a=1",), kept=("ro", "quiet"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("0x10", 16), ("010", 8), ("-1", -1), ("0", 0), ("1G", None), ("", None), (None, None), ("٣", None),
     ("9" * 5000, None), ("1_0", None)],
)  # fmt: skip
def test_numbers_are_read_in_c_notation(text: str | None, value: int | None) -> None:
    assert number(text) == value


@pytest.mark.parametrize(
    "word", ["a=$(reboot)", "a=`x`", "a;b", "a b", "a'b", 'a"b', "a\\b", "a&b", "a|b", "é", "*", ""]
)
def test_words_that_a_shell_would_read_are_not_plain(word: str) -> None:
    assert not is_plain(word)
    assert is_plain("ttm.pages_limit=29360128")
    assert Word("amd_iommu=off").name == "amd_iommu"
