"""`moetune plan --what-if`: both machines, what changes, and how sure that is."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from app.errors import ExitCode
from tests.cli.conftest import DESK, PLAIN, Plan
from tests.cli.plan_schema import FOLDER

UPGRADE = ("--what-if", "gpu=RTX 5090", "pcie=5x16", "ram=192")


def test_an_upgrade_is_compared_figure_by_figure(plan: Plan) -> None:
    code, text, _ = plan("gpt-oss-120b", DESK, *UPGRADE)
    assert code == ExitCode.OK
    assert text.splitlines()[0] == "What if gpu=RTX 5090 pcie=5x16 ram=192?"
    for words in ("times as fast", "decode at 8K", "prefill", "turn", "longest context", "on RTX 5090", "Assumed"):
        assert words in text, words
    assert "attention on RTX 5090" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_the_gain_is_a_range_around_the_ratio_of_both_plans(plan: Plan) -> None:
    answer = json.loads(plan("gpt-oss-120b", DESK, *UPGRADE, "--json")[1])
    Draft202012Validator(json.loads((FOLDER / "what_if.json").read_text(encoding="utf-8"))).validate(answer)
    before, after = (answer[name]["plan"]["decode"]["tokens_per_s"] for name in ("before", "after"))
    assert answer["gain"] == pytest.approx(after / before)
    assert answer["gain"] > 1.1
    assert answer["gain_low"] < answer["gain"] < answer["gain_high"]
    assert answer["schema"] == "moetune.what-if/1"


def test_the_same_devices_leave_less_doubt_than_others(plan: Plan) -> None:
    more_ram = json.loads(plan("gpt-oss-120b", DESK, "--what-if", "memory=DDR5-6000", "--json")[1])
    other_gpu = json.loads(plan("gpt-oss-120b", DESK, "--what-if", "gpu=RTX 5090", "--json")[1])
    spread = [one["gain_high"] / one["gain_low"] for one in (more_ram, other_gpu)]
    assert spread[0] < spread[1]


def test_what_is_not_used_changes_nothing(plan: Plan) -> None:
    answer = json.loads(plan("gpt-oss-20b", DESK, "--what-if", "ram=192", "--json")[1])
    assert answer["gain"] == 1
    assert "Nothing would change" in answer["verdict"]


def test_what_fits_only_then_is_said_so(plan: Plan) -> None:
    code, text, _ = plan("gpt-oss-120b", PLAIN, "--what-if", "ram=128")
    assert code == ExitCode.OK
    assert "does not fit as the machine is" in " ".join(text.split())


def test_what_fits_neither_way_is_no_fit(plan: Plan) -> None:
    assert plan("deepseek-r1", PLAIN, "--what-if", "ram=64")[0] == ExitCode.NO_FIT


def test_an_unknown_change_is_explained(plan: Plan) -> None:
    code, out, err = plan("gpt-oss-20b", DESK, "--what-if", "flux=7")
    assert (code, out) == (ExitCode.USAGE, "")
    assert "flux" in err
