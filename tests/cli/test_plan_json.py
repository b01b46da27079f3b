"""`moetune plan --json` keeps to its schema, and has all that the text shows."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.cli.conftest import DESK, HALO, PLAIN, Plan
from tests.cli.plan_schema import FOLDER, texts


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads((FOLDER / "plan.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_files_are_those_of_the_types() -> None:
    for path, text in texts().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m tests.cli.plan_schema"


@pytest.mark.parametrize("host", [HALO, DESK, PLAIN, "dgxos7-gb10", "ubuntu2404-rtx5090-rtx3060"])
@pytest.mark.parametrize("model", ["gpt-oss-20b", "qwen3-30b-a3b", "gemma-3-270m"])
def test_plans_keep_to_the_schema(model: str, host: str, plan: Plan, validator: Draft202012Validator) -> None:
    report = json.loads(plan(model, host, "--json")[1])
    validator.validate(report)
    assert report["schema"] == "moetune.plan/1"


def test_the_text_shows_nothing_that_the_document_lacks(plan: Plan) -> None:
    report: Any = json.loads(plan("gpt-oss-120b", DESK, "--json")[1])
    assert report["placement"] in " ".join(plan("gpt-oss-120b", DESK)[1].split())
    for term in report["plan"]["decode"]["terms"]:
        for one in term["parts"] or [term]:
            constant = report["constants"][one["coefficient"]]
            assert one["value"] == pytest.approx(one["quantity"] * constant["value"])
            assert constant["low"] <= constant["value"] <= constant["high"]
            assert constant["source"]
    assert report["limits"][0]["share"] == max(one["share"] for one in report["limits"])
    for part in ("pools", "moves", "derivations", "command_line"):
        assert report[part], part
    for part in ("alternatives", "choices"):
        assert report["plan"][part], part
    assert report["plan"]["curves"]["decode_by_context"]
    assert report["engine_checked"] is False


@pytest.mark.parametrize(
    ("place", "value"),
    [(("schema",), 1), (("pools", 0, "total_bytes"), None), (("plan", "decode", "basis"), "sure"), (("moves",), {})],
)
def test_a_wrong_value_is_refused(
    place: tuple[str | int, ...], value: object, plan: Plan, validator: Draft202012Validator
) -> None:
    report = json.loads(plan("gpt-oss-20b", DESK, "--json")[1])
    wrong = copy.deepcopy(report)
    inner = wrong
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert validator.is_valid(report)
    assert not validator.is_valid(wrong)


def test_the_schema_files_are_small_enough_to_ship() -> None:
    assert sum(Path(path).stat().st_size for path in texts()) < 200_000
