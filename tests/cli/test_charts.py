"""Bars and charts in text: as wide as asked, true to their figures."""

from __future__ import annotations

import subprocess

import pytest

from app.cli.charts import bar, cells, column_chart, line_chart, nice_top
from app.cli.pasting import wrapped_command
from app.cli.spans import beside, line, padded, width_of, wrapped


@pytest.mark.parametrize("width", [1, 5, 20, 41])
@pytest.mark.parametrize(
    "amounts", [(1, 1, 1), (100, 1, 0, 1), (0, 0, 5), (0.001, 0.001, 0.001), (50, 30, 20), (1000, 1, 1, 1, 1, 1)]
)
def test_a_bar_is_never_longer_than_its_room_and_hides_nothing_it_has_room_for(
    amounts: tuple[float, ...], width: int
) -> None:
    counts = cells(amounts, sum(amounts), width)
    assert sum(counts) <= width
    assert all(count == 0 for count, amount in zip(counts, amounts, strict=True) if amount == 0)
    if width >= 2 * len(amounts):
        assert all(count > 0 for count, amount in zip(counts, amounts, strict=True) if amount > 0)
        assert sum(counts) == width


def test_the_rest_of_a_bar_is_free() -> None:
    drawn = bar([(25.0, "#", "cyan"), (25.0, "=", "")], 100, 20)
    assert "".join(text for text, _ in drawn) == "#####=====░░░░░░░░░░"


def test_nothing_of_nothing_is_an_empty_bar() -> None:
    assert "".join(text for text, _ in bar([(0.0, "#", "")], 0, 6)) == "░" * 6


@pytest.mark.parametrize(
    ("highest", "ticks", "top"), [(77.8, 2, 80), (101, 2, 120), (0.9, 2, 1.0), (7303, 2, 8000), (0, 2, 1)]
)
def test_axes_end_at_figures_people_count_by(highest: float, ticks: int, top: float) -> None:
    assert nice_top(highest, ticks)[0] == pytest.approx(top)


def test_a_falling_line_falls() -> None:
    drawn = line_chart("speed", [(0, 80), (100, 40), (200, 10)], 30, 5, lambda at: f"{at:g}")
    rows = ["".join(text for text, _ in one) for one in drawn]
    assert rows[0] == "speed"
    assert max(map(len, rows)) <= 30
    assert rows[-1].split() == ["0", "100", "200"]
    plot = [row[4:] for row in rows[1:6]]
    first = [next((i for i, cell in enumerate(row) if cell.strip()), 99) for row in plot]
    assert first == sorted(first), "lower rows begin further right"


def test_columns_have_their_values_and_places_below() -> None:
    texts = (lambda at: f"{at:g}", lambda value: f"{value:g}")
    drawn = column_chart("all", [(1, 10.0), (2, 20.0)], 40, 4, texts)
    rows = ["".join(text for text, _ in one) for one in drawn]
    assert rows[-2].split() == ["10", "20"]
    assert rows[-1].split() == ["1", "2"]
    heights = [sum(row[at] == "█" for row in rows[1:5]) for at in (2, 8)]
    assert heights == [2, 4]


def test_blocks_stand_beside_each_other() -> None:
    rows = beside([[line("a"), line("bb")], [line("c")]], 4, gap=1)
    assert ["".join(text for text, _ in row).rstrip() for row in rows] == ["a    c", "bb"]
    assert width_of(padded(line("abc"), 5)) == 5


def test_paragraphs_hang_below_their_lead() -> None:
    rows = wrapped("one two three four", 16, first=line("lead  "))
    assert ["".join(text for text, _ in row) for row in rows] == ["lead  one two", "      three four"]


@pytest.mark.parametrize("width", [24, 40, 80])
@pytest.mark.parametrize(
    "words",
    [
        ("env", "X=1", "srv", "-m", "'a b.gguf'", "-c", "98304", "--flag"),
        ("srv", "-ot", "'" + "|".join(f"blk.{i}.(up|down)" for i in range(30)) + "=CPU'"),
        ("srv", "-m", "/very/long/path/" + "x" * 120 + "/model.gguf", "-fa", "on"),
        ("srv", "-m", "'it'\"'\"'s a name with a quote in a place that has to be cut somewhere near'"),
        ("srv",),
    ],
)
def test_a_wrapped_command_is_the_same_to_a_shell(words: tuple[str, ...], width: int) -> None:
    lines = wrapped_command(words, width)
    assert all(len(one) <= width for one in lines), lines
    program = 'env() { [[ $1 == *=* ]] && shift; "$@"; }; srv() { printf \'%s\\0\' "$@"; }\n'
    answers = [
        subprocess.run(["bash", "-c", program + text], capture_output=True, text=True, check=True, timeout=10).stdout
        for text in (" ".join(words), "\n".join(lines))
    ]
    assert answers[0] == answers[1]
