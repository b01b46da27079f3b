from __future__ import annotations

import pytest

from app.errors import UsageError
from app.tuner.extrapolation import line_through


def test_two_slices_give_their_line() -> None:
    line = line_through({2: 5.0, 4: 9.0})
    assert (line.fixed_ms, line.per_layer_ms) == pytest.approx((1.0, 2.0))
    assert line.ms(24) == pytest.approx(49.0)


def test_three_slices_give_the_line_of_least_squares() -> None:
    assert line_through({2: 5.0, 4: 9.3, 6: 13.0}).per_layer_ms == pytest.approx(2.0, rel=0.01)


def test_noise_that_makes_more_layers_cheaper_gives_no_negative_time() -> None:
    line = line_through({2: 5.0, 4: 4.0})
    assert line.fixed_ms == 0.0
    assert line.ms(6) > 4.0


def test_a_step_s_fixed_time_is_never_negative() -> None:
    line = line_through({2: 1.8, 4: 4.1})
    assert line.fixed_ms == 0.0
    assert line.ms(6) == pytest.approx(6.0, rel=0.02)


def test_a_prompt_s_is_where_the_last_layer_is_left_out() -> None:
    """Four tokens of two layers cost one whole layer, of four layers three."""
    line = line_through({2: 0.9, 4: 2.7}, prompt=True)
    assert (line.fixed_ms, line.per_layer_ms) == pytest.approx((-0.9, 0.9))
    assert line.ms(6) == pytest.approx(4.5)


def test_one_slice_is_not_enough() -> None:
    with pytest.raises(UsageError, match="One slice tells nothing"):
        line_through({2: 5.0})
