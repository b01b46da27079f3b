"""Fitting a machine's constants: what was put in comes out, and what the trials do not tell is refused by name."""

from __future__ import annotations

import math
import random

import pytest

from app.hardware.coefficients import shipped_coefficients
from app.solver.calibration import Trial, calibrated, calibrated_range
from app.solver.coefficients import Coefficient, Coefficients
from app.solver.scene import Cost, total_ms


def coefficients(**values: float) -> Coefficients:
    """Constants that the fit of other machines knows within a factor of two."""
    made = {name: Coefficient(v, v / 1.4, v * 1.4, "units", name, "test") for name, v in values.items()}
    return Coefficients(made, {"decode.cpu": (0.7, 1.6), "decode.gpu": (0.6, 1.5), "prefill.cpu": (0.5, 2.0)})


def costs(**quantities: float) -> list[Cost]:
    return [Cost("part", "cpu", name, quantity) for name, quantity in quantities.items()]


def measured(true: Coefficients, quantities: dict[str, float], error: float = 1.0) -> Trial:
    made = costs(**quantities)
    return Trial(made, total_ms(made, true) * error, "decode.cpu")


def test_no_trial_changes_nothing() -> None:
    base = coefficients(read=1.0, layer=0.1)
    result = calibrated(base, [])
    assert result.coefficients == base
    assert result.multiplier == 1.0
    assert set(result.refused) == {"read", "layer"}


def test_one_trial_is_the_shrunken_ratio_where_constants_have_nothing_of_their_own() -> None:
    base = coefficients(read=1.0, layer=0.1)
    trial = Trial(costs(read=8.0, layer=20.0), 15.0, "decode.cpu")
    result = calibrated(base, [trial], own_spread_share=0.0)
    expected = math.exp(math.log(15.0 / 10.0) / (1 + (0.10 / 0.17) ** 2))
    assert result.multiplier == pytest.approx(expected, rel=1e-3)
    assert result.coefficients["read"] == pytest.approx(expected, rel=1e-3)


def test_more_trials_that_agree_are_believed_more() -> None:
    base = coefficients(read=1.0)
    one, five = ([Trial(costs(read=10.0), 15.0)] * count for count in (1, 5))
    assert 1.2 < calibrated(base, one).coefficients["read"] < calibrated(base, five).coefficients["read"] < 1.5


def test_a_noisy_trial_is_believed_less() -> None:
    base = coefficients(read=1.0)
    quiet, noisy = (calibrated(base, [Trial(costs(read=10.0), 15.0, "", noise)]) for noise in (0.0, 0.5))
    assert noisy.coefficients["read"] < quiet.coefficients["read"]
    assert noisy.coefficients["read"] > 1.0


def test_made_trials_give_back_the_constants_that_made_them() -> None:
    base = coefficients(read=1.0, layer=0.1, crossing=0.2, cache=1.3)
    true = coefficients(read=1.35, layer=0.06, crossing=0.31, cache=2.2)
    draw = random.Random(4)
    trials = [
        measured(true, {"read": draw.uniform(1, 20), "layer": draw.uniform(5, 200), "crossing": draw.uniform(0, 40),
                        "cache": draw.choice((0.0, 8.0))}, math.exp(draw.gauss(0, 0.02)))
        for _ in range(24)
    ]  # fmt: skip
    result = calibrated(base, trials, own_spread_share=1.0, residual_spread=0.03)
    assert set(result.identified) == {"read", "layer", "crossing", "cache"}
    for name, one in result.identified.items():
        assert one.value == pytest.approx(true[name], rel=0.1), name
        assert one.basis == "calibrated"
        assert one.high / one.low < base.values[name].high / base.values[name].low
    assert not result.refused


def test_a_constant_with_a_small_share_is_refused_and_keeps_only_the_shared_factor() -> None:
    base = coefficients(read=1.0, layer=0.01)
    result = calibrated(base, [Trial(costs(read=10.0, layer=40.0), 15.0)])
    assert set(result.identified) == {"read"}
    assert "takes at most 4 % of a measured time" in result.refused["layer"]
    assert result.coefficients["layer"] == pytest.approx(0.01 * result.multiplier)
    assert result.coefficients.values["layer"].basis == "table"


def test_a_constant_that_no_trial_uses_is_left_as_it_was() -> None:
    base = coefficients(read=1.0, gpu=1.4)
    result = calibrated(base, [Trial(costs(read=10.0), 15.0)])
    assert result.refused == {"gpu": "no measurement uses it"}
    assert result.coefficients.values["gpu"] == base.values["gpu"]


def test_constants_that_always_go_together_are_refused_but_for_one() -> None:
    base = coefficients(read=1.0, layer=0.1)
    trials = [Trial(costs(read=9.0 * n, layer=30.0 * n), 15.0 * n) for n in (1, 2, 3)]
    result = calibrated(base, trials)
    assert set(result.identified) == {"read"}
    assert "cannot be told apart from read" in result.refused["layer"]
    predicted = total_ms(costs(read=9.0, layer=30.0), result.coefficients)
    assert predicted == pytest.approx(15.0, rel=0.05)


def test_a_trial_with_another_mixture_tells_them_apart() -> None:
    base = coefficients(read=1.0, layer=0.1)
    trials = [Trial(costs(read=9.0, layer=30.0), 15.0), Trial(costs(read=1.0, layer=60.0), 7.0)]
    assert set(calibrated(base, trials).identified) == {"read", "layer"}


def test_one_trial_that_nothing_explains_does_not_bend_the_constants() -> None:
    base = coefficients(read=1.0, layer=0.1)
    true = coefficients(read=1.2, layer=0.1)
    sizes = ((9.0, 30.0), (1.0, 60.0), (12.0, 10.0), (4.0, 40.0), (7.0, 20.0))
    trials = [measured(true, {"read": read, "layer": layer}) for read, layer in sizes]
    bent = [*trials, measured(true, {"read": 6.0, "layer": 5.0}, 3.0)]
    clean, robust = (calibrated(base, some, own_spread_share=1.0) for some in (trials, bent))
    assert robust.coefficients["read"] == pytest.approx(clean.coefficients["read"], rel=0.12)
    assert robust.residuals[-1] > 0.8


def test_what_was_calibrated_before_stays_within_its_own_range() -> None:
    base = coefficients(read=1.0, multiply=2.0)
    decode = calibrated(base, [Trial(costs(read=10.0), 13.0)] * 6, own_spread_share=1.0).coefficients
    prefill = [Trial(costs(read=5.0, multiply=10.0), 60.0)] * 3
    after = calibrated(decode, prefill, own_spread_share=1.0).coefficients
    assert after["read"] == pytest.approx(decode["read"], rel=0.12)
    assert after["multiply"] > 3.5


def test_only_the_ranges_of_measured_kinds_are_narrowed() -> None:
    base = coefficients(read=1.0)
    result = calibrated(base, [Trial(costs(read=10.0), 10.0, "decode.cpu")])
    assert result.coefficients.ranges["decode.cpu"] == (0.78, 1.27)
    assert result.coefficients.ranges["decode.gpu"] == (0.6, 1.5)


def test_a_range_is_never_narrower_than_what_the_fit_misses() -> None:
    base = coefficients(read=1.0)
    trials = [Trial(costs(read=10.0), ms, "decode.cpu") for ms in (5.0, 20.0, 5.0, 20.0)]
    low, high = calibrated(base, trials).coefficients.ranges["decode.cpu"]
    assert low < 0.4
    assert high > 2.5


def test_another_configuration_of_prefill_narrows_nothing() -> None:
    base = coefficients(read=1.0)
    result = calibrated(base, [Trial(costs(read=10.0), 10.0, "prefill.cpu")])
    assert result.coefficients.ranges["prefill.cpu"] == (0.5, 2.0)
    assert calibrated_range("prefill.cpu", 1, same=True) == (0.75, 1.31)


def test_ranges_narrow_with_the_number_of_trials() -> None:
    assert calibrated_range("decode.cpu", 0, same=True) is None
    for same in (True, False):
        found = [calibrated_range("decode.cpu", count, same=same) for count in (1, 2, 3, 9)]
        ratios = [high / low for low, high in filter(None, found)]
        assert ratios == sorted(ratios, reverse=True)
        assert ratios[-1] == ratios[-2]


def test_the_shipped_constants_can_be_calibrated() -> None:
    base = shipped_coefficients()
    trial = Trial(costs(cpu_weights=20.0, cpu_layer=12.0), 40.0, "decode.cpu")
    result = calibrated(base, [trial])
    before, after = (total_ms(list(trial.costs), of) for of in (base, result.coefficients))
    assert abs(math.log(40.0 / after)) < abs(math.log(40.0 / before)) / 2
    assert len(result.identified) + len(result.refused) == len(base.values)
