"""Which points a benchmark measures: what a plan's context holds, in the fewest starts of the tool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.jobs.sweeping import BATCHES, CONTEXTS, Sweep, passes_of, wanted_points
from app.runtimes.batched_sweep import SweepPass
from app.solver.model import Workload
from app.solver.plan import Plan
from tests.runtimes.conftest import plan_of


def plan_for(context: int, parallel: int = 1) -> Plan:
    plan = plan_of("cpu", ("cpu",))
    parameters = replace(plan.parameters, context=context * parallel, parallel=parallel)
    return replace(plan, workload=Workload(context=context, parallel=parallel), parameters=parameters)


def test_everything_published_is_measured_where_the_plan_holds_it() -> None:
    points, cuts = wanted_points(plan_for(131072, parallel=16), Sweep())
    assert not cuts
    assert [one.context for one in points if one.batch == 1] == list(CONTEXTS)
    assert {0, 2048, 4096, 8192, 16384, 24576, 32768, 65536, 98304} <= set(CONTEXTS)
    assert [(one.context, one.batch) for one in points if one.batch > 1] == [
        (context, batch) for context in (0, 32768) for batch in BATCHES[1:]
    ]
    assert passes_of(points) == (
        SweepPass(CONTEXTS, (1,), 128), SweepPass((0,), BATCHES[1:], 128), SweepPass((32768,), BATCHES[1:], 128),
    )  # fmt: skip
    assert passes_of(points)[2].context <= 131072 * 16


def test_the_plans_context_cuts_both_and_says_so() -> None:
    points, cuts = wanted_points(plan_for(32768), Sweep())
    assert [one.context for one in points if one.batch == 1] == [one for one in CONTEXTS if one <= 32768]
    assert [(one.context, one.batch) for one in points if one.batch > 1] == [(0, batch) for batch in (2, 4, 8, 16)]
    assert cuts == (
        "Contexts from 64K on were left out: the plan's context ends at 32K.",
        "2 and more sequences of 32K were left out: the plan's context of 32K does not hold them; plan it with"
        " --context and --parallel.",
    )


@pytest.mark.parametrize("context", [1, 100, 256, 2048, 5000])
@pytest.mark.parametrize("parallel", [1, 3, 16])
def test_no_start_of_the_tool_needs_more_context_than_the_plan_has(context: int, parallel: int) -> None:
    plan = plan_for(context, parallel)
    points, _ = wanted_points(plan, Sweep(contexts=(0, 256, 2048), generated=32))
    for one in passes_of(points):
        needed = (max(one.prompts) + one.generated) * max(one.batches)
        assert needed <= plan.parameters.context
        # Rounded up by the tool, and enough for its warm-up; no more than that.
        assert one.context <= max(512, plan.parameters.context + 255)


def test_a_full_context_leaves_room_to_generate() -> None:
    points, cuts = wanted_points(plan_for(4096), Sweep(contexts=(0, 2048, 4096), batches=(1,), generated=100))
    assert not cuts
    assert [(one.context, one.prompt_tokens) for one in points] == [(0, 0), (2048, 2048), (4096, 3996)]


def test_several_sequences_are_measured_at_the_shortest_context_where_neither_usual_one_is_asked_for() -> None:
    points, _ = wanted_points(plan_for(8192, 4), Sweep(contexts=(1024, 4096), batches=(2, 4)))
    assert [(one.context, one.batch) for one in points] == [(1024, 2), (1024, 4)]
