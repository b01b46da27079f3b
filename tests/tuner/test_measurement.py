"""A measurement: the time that it stands for, and its way into the database and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from app.solver.plan import KtParameters
from app.tuner.measurement import Measurement, from_json, to_json
from tests.tuner.making import made


def test_repetitions_that_agree_have_their_median() -> None:
    one = made(samples_ms=(5.0, 5.2, 5.1))
    assert (one.ms_per_token, one.is_noisy) == (5.1, False)
    assert one.noise == pytest.approx(0.0198, abs=1e-3)


def test_of_repetitions_that_others_disturbed_the_fastest_counts() -> None:
    one = made(samples_ms=(5.0, 9.0, 8.0))
    assert (one.ms_per_token, one.spread, one.is_noisy) == (5.0, 1.6, True)


def test_it_comes_back_from_json_as_it_was() -> None:
    one = made(samples_ms=(5.0, 5.1))
    assert from_json(to_json(one)) == one
    kt = replace(one, parameters=replace(one.parameters, kt=KtParameters("AMXINT8", 8, 1, 0, 512)), layer_only=True)
    assert from_json(to_json(kt)) == kt


def test_what_another_version_added_is_left_out_and_what_it_lacked_has_its_default() -> None:
    data = json.loads(to_json(made()))
    data["mood"] = "good"
    data["shape"]["layers"][0]["colour"] = "red"
    del data["layer_only"], data["shape"]["layers"][0]["state_bytes"]
    assert from_json(json.dumps(data)) == made()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"shape": {"layers": 3}}', '{"shape": 1}'])
def test_what_cannot_be_understood_is_none(text: str) -> None:
    assert from_json(text) is None


@pytest.mark.parametrize(("name", "value"), [("samples_ms", []), ("samples_ms", [0.0]), ("tokens", 0)])
def test_a_measurement_of_nothing_is_none(name: str, value: object) -> None:
    data = json.loads(to_json(made()))
    data[name] = value
    assert from_json(json.dumps(data)) is None


def test_a_measurement_is_small_enough_to_keep_hundreds() -> None:
    assert len(to_json(made())) < 5000
    assert isinstance(made(), Measurement)
