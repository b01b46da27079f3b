"""The chart's arithmetic."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from app.ui.widgets.chart import BAND_GLYPH, Chart, Scale, block_rows, braille_rows, nice_step, spans, time_axis


@pytest.mark.parametrize(
    ("top", "ticks", "step"),
    [(60, 3, 20), (48, 5, 10), (1000, 5, 200), (0.9, 3, 0.3), (7, 5, 1.5), (100, 1, 100), (0, 4, 1)],
)
def test_steps_are_those_that_people_count_by(top: float, ticks: int, step: float) -> None:
    assert nice_step(top, ticks) == pytest.approx(step)


@pytest.mark.parametrize("highest", [0.3, 1, 9.99, 44.7, 50, 617, 12345])
def test_the_scale_holds_its_highest_value_and_counts_in_whole_steps(highest: float) -> None:
    scale = Scale.over([None, highest, 0.0], None, 12)
    assert scale.top >= highest
    assert scale.top <= highest * 3
    assert scale.top / scale.step == pytest.approx(round(scale.top / scale.step))


def test_the_band_is_inside_the_scale_even_above_all_values() -> None:
    assert Scale.over([10.0], (39.0, 50.0), 10).top >= 50


def test_labels_reach_from_zero_at_the_bottom_to_the_top() -> None:
    labels = Scale(60, 20).labels(9)
    assert labels[0] == "60"
    assert labels[8] == "0"
    assert sorted(labels.values(), key=float) == ["0", "20", "40", "60"]


def test_one_row_still_has_a_label() -> None:
    assert Scale.over([5.0], None, 1).labels(1)


def test_a_gap_stays_a_gap() -> None:
    rows = braille_rows([5.0, 5.0, None, None, 5.0, 5.0], 3, 2, 10)
    assert [row[1] for row in rows] == [" ", " "]
    assert any(row[0] != " " for row in rows)


def test_zero_is_drawn_and_none_is_not() -> None:
    assert braille_rows([0.0, 0.0], 1, 1, 10) != [" "]
    assert braille_rows([None, None], 1, 1, 10) == [" "]
    assert block_rows([0.0], 1, 1, 10) == ["▁"]
    assert block_rows([None], 1, 1, 10) == [" "]


def test_the_newest_value_is_at_the_right_edge() -> None:
    rows = braille_rows([10.0], 4, 1, 10)
    assert rows[0][:3] == "   "
    assert rows[0][3] != " "


def test_a_jump_is_joined_by_a_line() -> None:
    rows = braille_rows([0.0, 10.0], 1, 3, 10)
    assert all(row[0] != " " for row in rows)


def test_a_high_value_fills_blocks_from_the_bottom() -> None:
    assert block_rows([10.0, 5.0], 2, 2, 10) == ["█ ", "██"]


def test_every_row_is_as_wide_as_asked() -> None:
    values = [float(i % 7) for i in range(500)]
    assert {len(row) for row in braille_rows(values, 33, 5, 7)} == {33}
    assert {len(row) for row in block_rows(values, 33, 5, 7)} == {33}
    assert len(time_axis(60, 61.0)) == 60
    assert time_axis(60, 120.0).startswith("-2:00")
    assert len(time_axis(12, 6.0)) == 12


def test_blanks_in_the_band_are_shaded() -> None:
    assert list(spans("  ⣀ ", in_band=True)) == [(BAND_GLYPH * 2, False), ("⣀", True), (BAND_GLYPH, False)]
    assert list(spans("  ", in_band=False)) == [("  ", False)]


class ChartApp(App[None]):
    """Nothing but a chart."""

    def compose(self) -> ComposeResult:
        yield Chart("decode t/s", glyphs="braille")


async def test_rows_are_computed_once_for_a_sample_and_fill_the_width() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 12)) as pilot:
        chart = app.query_one(Chart)
        chart.show([40.0 + i % 5 for i in range(200)], (39.0, 50.0))
        await pilot.pause()
        first = [chart.render_line(y) for y in range(12)]
        assert all(chart.render_line(y) is first[y] for y in range(12))
        assert {strip.cell_length for strip in first} == {60}
        assert max(len(list(strip)) for strip in first) <= 40
        assert "predicted 39.0 to 50.0" in first[0].text
        assert any(BAND_GLYPH in strip.text for strip in first[1:-1])
        await pilot.resize_terminal(90, 20)
        await pilot.pause()
        assert chart.render_line(3).cell_length == 90


async def test_the_legend_gives_up_the_extremes_before_the_prediction() -> None:
    app = ChartApp()
    async with app.run_test(size=(48, 8)):
        chart = app.query_one(Chart)
        chart.show([41.0, 44.7], (39.0, 50.0))
        assert chart.legend(80) == "decode t/s  now 44.7  min 41.0  max 44.7  ░ predicted 39.0 to 50.0"
        assert "min" not in chart.legend(48)
        assert "predicted 39.0 to 50.0" in chart.legend(48)
