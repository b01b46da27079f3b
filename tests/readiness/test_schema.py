from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from app.jobs.checking import REPORT_VERSION, CheckReport
from app.jsonform import plain
from app.readiness import judge
from app.runtimes.base import Engine, EngineDevice
from detectors.registry import detect
from tests.fixtures.synthetic.machines import MACHINES, host
from tests.readiness.check_schema import SCHEMA, text

ENGINE = Engine(
    "llama_server", Path("/usr/bin/llama-server"), "path", "0.5.0", ("CPU",),
    (EngineDevice("CPU", "CPU", "host memory", None, None, "cpu"),), frozenset({"-m"}), frozenset(), {"x": Path("/x")},
)  # fmt: skip


def _report(name: str, folder: Path, engines: tuple[Engine, ...] | None = (ENGINE,)) -> Any:  # noqa: ANN401  # JSON
    machine = detect(host(name, folder), timeout_s=60)
    return json.loads(json.dumps(plain(CheckReport(REPORT_VERSION, machine, judge(machine), engines))))


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_the_file_is_that_of_the_types() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == text(), "run: python -m tests.readiness.check_schema"


@pytest.mark.parametrize("name", MACHINES)
def test_reports_keep_to_it(tmp_path: Path, validator: Draft202012Validator, name: str) -> None:
    validator.validate(_report(name, tmp_path))


def test_a_report_without_engines_keeps_to_it(tmp_path: Path, validator: Draft202012Validator) -> None:
    validator.validate(_report("opensuse-ryzen5600-none", tmp_path, None))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("version",), "1"),
        (("findings", 0, "severity"), "bad"),
        (("findings", 0, "cost_share"), "much"),
        (("machine", "pools", 0, "total_bytes"), None),
        (("machine", "devices", 0, "kind"), "tpu"),
        (("engines", 0, "path"), 5),
    ],
)
def test_a_wrong_value_is_refused(
    tmp_path: Path, validator: Draft202012Validator, place: tuple[str | int, ...], value: object
) -> None:
    report = _report("ubuntu2404-strixhalo", tmp_path)
    wrong = copy.deepcopy(report)
    inner = wrong
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    assert validator.is_valid(report)
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize("key", ["version", "machine", "findings", "engines"])
def test_a_missing_part_is_refused(tmp_path: Path, validator: Draft202012Validator, key: str) -> None:
    report = _report("opensuse-ryzen5600-none", tmp_path)
    del report[key]
    assert not validator.is_valid(report)
