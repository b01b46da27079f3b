"""The constants that ship predict published measurements as well as they are said to.

The measurements lie beside the checkout (`../shared`) and are no part of it; without them there is nothing to compare.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.benchmarks.figures import figures_of, grouped, pair_order
from tests.benchmarks.outcomes import Outcome, decode_outcomes
from tests.benchmarks.report import counted, report_json, subsets
from tests.benchmarks.rows import read_rows

ROWS = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench_rows.csv"


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    if not ROWS.is_file():
        pytest.skip(f"there are no published measurements at {ROWS}")
    return counted(decode_outcomes(read_rows(ROWS)))


@pytest.mark.parametrize(
    ("kind", "most"),
    [("unified", 11.5), ("hybrid", 12.5), ("cpu_only", 16.0), ("ktransformers", 10.0), ("all_gpu", 18.0)],
)
def test_each_class_is_predicted_within_its_floor(outcomes: list[Outcome], kind: str, most: float) -> None:
    figures = figures_of([one for one in outcomes if one.row.placement_class == kind])
    assert figures is not None
    assert figures.mape < most


def test_all_rows_are_predicted_within_12_percent_and_clean_ones_within_11(outcomes: list[Outcome]) -> None:
    every, clean = figures_of(outcomes), figures_of(subsets(outcomes)["clean"])
    assert every is not None
    assert clean is not None
    assert every.mape < 12.0
    assert every.median_ape < 9.0
    assert clean.mape < 11.0
    assert abs(clean.bias) < 3.0


def test_the_stated_ranges_hold_nine_in_ten_in_every_class(outcomes: list[Outcome]) -> None:
    for kind, part in grouped([one for one in outcomes if not one.why_not], lambda one: one.kind).items():
        if len(part) >= 20:
            figures = figures_of(part)
            assert figures is not None
            assert figures.coverage90 >= 85.0, kind


def test_configurations_of_one_machine_are_put_in_their_order(outcomes: list[Outcome]) -> None:
    right, pairs = pair_order(outcomes)
    assert pairs > 30_000
    assert right > 95.0


def test_few_rows_cannot_be_predicted_and_all_say_why(outcomes: list[Outcome]) -> None:
    skipped = [one for one in outcomes if one.why_not]
    assert len(skipped) < 60
    assert all("failed" not in one.why_not and "cannot be read" not in one.why_not for one in skipped)


def test_odd_rows_are_counted_with_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    fields = [
        "id",
        "machine",
        "gpu",
        "cpu",
        "model",
        "quant",
        "placement",
        "placement_class",
        "flags",
        "tg_tps",
        "pp_tps",
    ]
    good = {"machine": "a", "gpu": "RTX 3090 24GB", "model": "gpt-oss-20b", "quant": "MXFP4", "placement": "all_gpu"}
    odd = [
        good | {"id": "1", "tg_tps": "150"},
        good | {"id": "2", "model": "no such model", "tg_tps": "10"},
        good | {"id": "3", "tg_tps": "about ten", "pp_tps": "~1,000"},
        good | {"id": "4", "placement": "ncmoe=", "flags": '-ot "((=CPU" -ot', "tg_tps": "20"},
        {"id": "5", "tg_tps": "7"},
        good | {"id": "6", "quant": "Q0_Z (-3 GB)", "tg_tps": "1e9"},
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(odd)
    rows = read_rows(path)
    decode = decode_outcomes(rows)
    assert [one.row.id for one in decode] == ["1", "2", "4", "5", "6"]
    found = report_json(rows, decode, [])["decode"]
    assert found["n"] + found["n_skipped"] == 5
    assert found["n_skipped"] >= 2
    assert sum(found["skipped"].values()) == found["n_skipped"]
    assert {"mape", "median_ape", "bias", "coverage90", "n", "classes"} <= set(found)
