"""The report of a plan is about that plan: what it reckons anew is what the solver reckoned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.explaining import command_line, report_of, scene_of
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.runtimes.base import Command
from app.solver.explain.derivation import find, walk
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import Workload
from app.solver.prediction import predict_decode
from app.solver.scene import Scene
from tests.fixtures.synthetic.machines import write

SERVER = "ubuntu2404-2xxeon6430-rtx4090"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> PlannedRun:
    host = write(SERVER, tmp_path_factory.mktemp("host"))
    request = PlanRequest("qwen3-235b-a22b", Workload(context=32768), capture=str(host), runtimes=("llama.cpp",))
    return make_plan(request)


@pytest.fixture(scope="module")
def kt_planned(planned: PlannedRun) -> PlannedRun:
    scene = Scene(planned.machine, planned.shape, planned.coefficients)
    return replace(planned, plan=solve_ktransformers(scene, planned.request.workload, planned.policy))


def test_the_scene_of_a_plan_is_that_of_its_numbers(planned: PlannedRun, kt_planned: PlannedRun) -> None:
    for run in (planned, kt_planned):
        plan = run.plan
        again = predict_decode(scene_of(run), plan.placement, plan.parameters, context=plan.decode.at_context)
        assert again.tokens_per_s == pytest.approx(plan.decode.tokens_per_s)


def test_a_report_of_ktransformers_tells_its_own_memory(kt_planned: PlannedRun) -> None:
    report = report_of(kt_planned)
    assert report.shape.quantization == kt_planned.plan.parameters.kt.method  # type: ignore[union-attr]
    [weights] = find(report.derivations, "weights on CPU")
    assert "all experts" in weights.equation
    [compute] = find(report.derivations, "compute on CPU")
    assert "pools x" in compute.equation
    assert "besides" in report.placement
    ram = next(use for use in report.pools if use.label == "RAM")
    assert ram.plan_bytes == kt_planned.plan.memory_of("cpu").total_bytes


@pytest.mark.parametrize("kind", ["planned", "kt_planned"])
def test_names_are_unique_and_each_finds_its_number(kind: str, request: pytest.FixtureRequest) -> None:
    report = report_of(request.getfixturevalue(kind))
    named = dict(walk(report.derivations))
    assert len(named) == len(list(walk(report.derivations)))
    for name, one in named.items():
        assert find(report.derivations, name) == (one,), name


def test_the_constants_are_those_of_the_terms(planned: PlannedRun) -> None:
    report = report_of(planned)
    for term in report.plan.decode.terms:
        for one in term.parts or (term,):
            assert report.constants[one.coefficient].value == planned.coefficients[one.coefficient]


def test_a_command_is_quoted_with_its_environment() -> None:
    command = Command(("srv", "-m", "a b", "-c", "1"), {"X": "1 2"}, ("Y",), "http://127.0.0.1:1")
    assert command_line(command) == "env -u Y X='1 2' srv -m 'a b' -c 1"
    assert command_line(Command(("srv",), {}, (), "")) == "srv"


def test_a_full_context_is_slower_than_a_short_one(planned: PlannedRun) -> None:
    report = report_of(planned)
    assert report.decode_full.at_context == 32768
    assert report.decode_full.tokens_per_s < report.plan.decode.tokens_per_s
