"""The board: every model of the catalogue on one machine, in one look."""

from __future__ import annotations

import pytest

from app.jobs.board import board
from app.jobs.planning import find_model
from app.solver.model import ModelShape, Policy, Workload
from app.solver.search import solve
from app.units import GIB
from tests.solver.machines import desktop, plain, scene, strix_halo_with_radeon

MODELS = ("qwen3-4b", "gpt-oss-20b", "glm-4.5-air", "llama-3.1-70b", "deepseek-v3")


@pytest.fixture(scope="module")
def models() -> tuple[tuple[str, ModelShape], ...]:
    return tuple((name, find_model(name)) for name in MODELS)


def test_a_row_for_each_model_in_their_order(models: tuple[tuple[str, ModelShape], ...]) -> None:
    rows = board(desktop(), models, Workload(), Policy())
    assert [row.model for row in rows] == list(MODELS)
    assert [row.fits for row in rows] == [True, True, True, True, False]
    huge = rows[-1]
    assert huge.missing_bytes > 200 * GIB
    assert huge.decode is None
    for row in rows[:-1]:
        assert row.decode is not None
        assert row.decode.low < row.decode.tokens_per_s < row.decode.high
        assert row.prefill is not None
        assert row.placement
        assert row.quantization


def test_a_row_says_what_the_plan_says(models: tuple[tuple[str, ModelShape], ...]) -> None:
    machine = strix_halo_with_radeon()
    for row, (_, shape) in zip(board(machine, models[:3], Workload(), Policy()), models, strict=False):
        plan = solve(scene(machine, shape), Workload(), Policy())
        assert row.decode is not None
        assert row.decode.tokens_per_s == pytest.approx(plan.decode.tokens_per_s)
        assert row.prefill is not None
        assert plan.prefill is not None
        assert row.prefill.tokens_per_s == pytest.approx(plan.prefill.tokens_per_s)


def test_the_longest_context_keeps_the_floor(models: tuple[tuple[str, ModelShape], ...]) -> None:
    work = Workload(floor_tps=15.0)
    small = board(desktop(), models[1:2], work, Policy())[0]
    assert small.longest_context >= 32768
    crawling = board(plain(ram_gib=96), models[2:3], work, Policy())[0]
    assert crawling.fits
    assert crawling.longest_context == 0, "two cores do not reach the floor at all"
