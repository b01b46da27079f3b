"""`moetune plan --explain`: every number by name, every equation true."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from app.errors import ExitCode
from tests.cli.conftest import DESK, HALO, PLAIN, Plan

UNITS = {"MB": 1e6, "GB": 1e9, "kB": 1e3, "B": 1.0, "GB/s": 1e9, "GFLOP": 1e9, "TFLOPS": 1e12}
FACTOR = re.compile(r"([0-9.]+(?:e[-+]?\d+)?) ?([A-Za-zµ/]*)")


def names(text: str) -> list[str]:
    return [re.split(r"\s{2,}", line.strip())[0] for line in text.splitlines()[1:]]


@pytest.mark.parametrize(("model", "host"), [("gpt-oss-120b", DESK), ("gpt-oss-120b", HALO), ("gpt-oss-20b", PLAIN)])
def test_every_listed_name_is_explained_within_the_width(model: str, host: str, plan: Plan) -> None:
    listed = names(plan(model, host, "--explain", "list")[1])
    assert {"decode", "prefill", "turn", "memory", "weights", "kv", "compute", "reserve", "ubatch"} <= set(listed)
    for name in listed[:12] + listed[-8:]:
        code, text, _ = plan(model, host, "--explain", name)
        assert code == ExitCode.OK, name
        assert max(map(len, text.splitlines())) <= 80


def test_an_unknown_name_is_answered_with_those_there_are(plan: Plan) -> None:
    code, out, err = plan("gpt-oss-120b", DESK, "--explain", "luck")
    assert code == ExitCode.USAGE
    assert out == ""
    assert "experts on CPU" in err
    assert "kv" in err


def test_a_beginning_and_any_case_do(plan: Plan) -> None:
    whole = plan("gpt-oss-120b", DESK, "--explain", "experts on CPU")[1]
    assert plan("gpt-oss-120b", DESK, "--explain", "EXPERTS ON cpu")[1] == whole
    both = plan("gpt-oss-120b", DESK, "--explain", "experts")[1]
    assert whole in both
    assert "experts on RTX 3090" in both


def test_without_a_name_it_explains_decode(plan: Plan) -> None:
    assert plan("gpt-oss-120b", DESK, "--explain")[1] == plan("gpt-oss-120b", DESK, "--explain", "decode")[1]


def test_it_says_where_each_number_of_a_term_comes_from(plan: Plan) -> None:
    text = " ".join(plan("gpt-oss-120b", DESK, "--explain", "experts on cpu")[1].split())
    assert "of 128 of the" in text, "how many experts"
    assert "GB/s, the memory of CPU (from the driver)" in text, "how fast, and how that is known"
    assert "(90 %:" in text, "the constant's range"
    assert "2026-11" in text, "and its source"


def derivations(report: Any) -> Iterator[Any]:  # noqa: ANN401  # JSON
    def inside(one: Any) -> Iterator[Any]:  # noqa: ANN401
        yield one
        for part in one["parts"]:
            yield from inside(part)

    for one in report["derivations"]:
        yield from inside(one)


def milliseconds(equation: str) -> float:
    """The left side of `583 MB / 256 GB/s x 1.37 = 3.12 ms`, reckoned."""
    left = equation.rpartition(" = ")[0]
    rated = any(f" {unit} x" in left for unit in ("GB/s", "TFLOPS"))
    value, operator = 1000.0 if rated else 1.0, "x"
    for piece in re.split(r" (x|/) ", left):
        if piece in ("x", "/"):
            operator = piece
            continue
        match = FACTOR.match(piece)
        assert match is not None, equation
        number = float(match[1]) * (UNITS.get(match[2], 1.0) if rated else 1.0)
        value = value * number if operator == "x" else value / number
    return value


def size(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}[unit]


@pytest.mark.parametrize(
    ("model", "words"),
    [("gpt-oss-120b", ()), ("deepseek-v2-lite", ()), ("qwen3-next-80b-a3b", ("--parallel", "2")),
     ("gemma-4-26b-a4b", ("--kv-type", "q8_0")), ("gemma-3-27b", ())],
)  # fmt: skip
def test_bytes_are_the_sum_of_what_their_equations_name(model: str, words: tuple[str, ...], plan: Plan) -> None:
    report = json.loads(plan(model, DESK, "-c", "16K", *words, "--json")[1])
    for one in derivations(report):
        if one["name"].startswith("kv on"):
            addends = [part.split(" x ") for part in one["equation"].rpartition(" = ")[0].split(" + ")]
            total = sum(float(count.split()[0]) * size(each) for count, each in addends)
        elif one["name"].startswith(("weights on", "memory of")):
            parts = one["equation"].rpartition(" = ")[0].split(" + ")
            total = sum(size(" ".join(part.split()[-2:])) for part in parts)
        else:
            continue
        assert total == pytest.approx(one["value"], rel=0.03), one["equation"]


@pytest.mark.parametrize(
    "words",
    [(), ("--parallel", "4", "--objective", "throughput"), ("--objective", "context"), ("--prompt-tokens", "4K")],
)
def test_the_turn_is_what_its_equation_says(words: tuple[str, ...], plan: Plan) -> None:
    report = json.loads(plan("gpt-oss-120b", DESK, "-c", "16K", *words, "--json")[1])
    [turn] = [one for one in report["derivations"] if one["name"] == "turn"]
    total = 0.0
    for addend in turn["equation"].rpartition(" = ")[0].split(" + "):
        total += math.prod(float(factor.removesuffix(" ms")) for factor in addend.split(" x ")) / 1000
    assert total == pytest.approx(turn["value"], rel=0.01)
    assert turn["value"] == report["plan"]["turn_s"]


@pytest.mark.parametrize(
    ("model", "host", "words"),
    [("gpt-oss-120b", DESK, ()), ("gpt-oss-120b", HALO, ("-c", "96K")), ("gpt-oss-20b", PLAIN, ()),
     ("deepseek-v2-lite", DESK, ("--parallel", "4", "--objective", "throughput"))],
)  # fmt: skip
def test_the_equations_are_true(model: str, host: str, words: tuple[str, ...], plan: Plan) -> None:
    report = json.loads(plan(model, host, *words, "--json")[1])
    reckoned = 0
    for one in derivations(report):
        if one["unit"] == "ms" and one["equation"]:
            assert milliseconds(one["equation"]) == pytest.approx(one["value"], rel=0.02), one["equation"]
            reckoned += 1
        if one["parts"] and one["unit"] == "ms":
            assert sum(part["value"] for part in one["parts"]) == pytest.approx(one["value"])
        if one["name"] in ("decode", "prefill"):
            total = sum(part["value"] for part in one["parts"])
            assert 1000 / total == pytest.approx(one["value"])
        if one["unit"] == "bytes" and one["parts"]:
            assert sum(part["value"] for part in one["parts"]) == one["value"]
    assert reckoned > 10
