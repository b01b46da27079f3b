"""Lines of SGLang with kt-kernel as figures, and a start held against its plan. For their origin see `recorded/`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.jobs.planning import find_model
from app.runtimes.ktransformers.activity import judge_start
from app.runtimes.ktransformers.log import GB, KtStart, parse_decode, parse_prefill, parse_start
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import Policy, Workload
from app.solver.plan import Plan
from tests.solver.kt_machines import server
from tests.solver.machines import scene

START = (Path(__file__).parent / "recorded" / "sglang-start.log").read_text().splitlines()


@pytest.fixture(scope="module")
def plan() -> Plan:
    made = solve_ktransformers(scene(server(), find_model("qwen3-30b-a3b")), Workload(), Policy())
    assert made.parameters.kt is not None
    return replace(made, parameters=replace(made.parameters, kt=replace(made.parameters.kt, resident_experts=32)))


@pytest.mark.parametrize(
    ("line", "running", "tokens", "usage", "graph", "rate", "queued"),
    [
        ("Decode batch, #running-req: 1, #token: 120, token usage: 0.00, cuda graph: True, "
         "gen throughput (token/s): 31.42, #queue-req: 0", 1, 120, 0.0, True, 31.42, 0),
        ("[2025-11-11 04:06:27] Decode batch, #running-req: 46, #token: 34901, token usage: 0.19, cuda graph: False, "
         "gen throughput (token/s): 1447.08, #queue-req: 3, ", 46, 34901, 0.19, False, 1447.08, 3),
        ("[2026-03-22 13:53:37 TP0] Decode batch [812], #running-req: 6, #token: 42414, token usage: 0.04, "
         "accept len: 2.31, accept rate: 0.77, cuda graph: True, gen throughput (token/s): 1374.02, #queue-req: 0,",
         6, 42414, 0.04, True, 1374.02, 0),
        ("Decode batch, #running-req: 2, #full token: 900, full token usage: 0.03, mamba num: 2, mamba usage: 0.01, "
         "gen throughput (token/s): 12.00, #queue-req: 0", 2, 900, 0.03, None, 12.0, 0),
    ],
)  # fmt: skip
def test_decode_lines_of_several_builds(
    line: str, running: int, tokens: int, usage: float, graph: bool | None, rate: float, queued: int
) -> None:
    found = parse_decode(line)
    assert found is not None
    assert (found.running, found.tokens, found.usage, found.cuda_graph) == (running, tokens, usage, graph)
    assert (found.tokens_per_s, found.queued) == (rate, queued)
    assert parse_prefill(line) is None


def test_prefill_lines_have_no_rate_for_the_first_prompt() -> None:
    first = parse_prefill(
        "Prefill batch, #new-seq: 1, #new-token: 6, #cached-token: 0, token usage: 0.00, #running-req: 0, "
        "#queue-req: 0, input throughput (token/s): 0.00, cuda graph: False"
    )
    assert first is not None
    assert (first.sequences, first.new_tokens, first.cached_tokens, first.tokens_per_s) == (1, 6, 0, None)
    later = parse_prefill(
        "[2026-04-05 20:02:51] Prefill batch, #new-seq: 1, #new-token: 158, #cached-token: 12, token usage: 0.08, "
        "#running-req: 31, #queue-req: 2, cuda graph: True, input throughput (token/s): 559.53"
    )
    assert later is not None
    assert (later.new_tokens, later.cached_tokens, later.running, later.queued) == (158, 12, 31, 2)
    assert later.tokens_per_s == 559.53


@pytest.mark.parametrize(
    "line", ["", "Decode batch", "Prefill batch, nothing", 'INFO: "POST /v1/chat/completions HTTP/1.1" 200 OK',
             "Decode batch, #running-req: 1, gen throughput (token/s): many, #queue-req: 0"],
)  # fmt: skip
def test_other_lines_are_none(line: str) -> None:
    assert parse_decode(line) is None
    assert parse_prefill(line) is None


def test_a_start_tells_its_experts_memory_and_readiness() -> None:
    start = parse_start(START[:3])
    assert not start.ready
    assert not start.is_inactive, "it is too early to say so"
    start = parse_start(START[3:], start)
    assert start.gpu_experts == {1: 32, 2: 32, 3: 32}
    assert (start.strategy, start.cache_tokens, start.ready) == ("uniform", 32768, True)
    assert start.weight_bytes == round(16.5 * GB)


def test_a_start_as_planned_is_good(plan: Plan) -> None:
    [found] = judge_start(parse_start(START), plan)
    assert (found.id, found.severity) == ("kt.active", "good")
    assert judge_start(KtStart(), plan) == (), "nothing is said before anything was read"


def test_a_server_that_never_names_kt_kernel_runs_without_it(plan: Plan) -> None:
    silent = [line for line in START if "KT GPU experts" not in line]
    [found] = judge_start(parse_start(silent), plan)
    assert (found.id, found.severity) == ("kt.inactive", "blocks")
    assert found.fix is not None
    assert "sglang-kt" in found.fix.text
    assert judge_start(parse_start(silent[:-1]), plan) == (), "it is not ready: the lines may come yet"


def test_other_numbers_of_experts_than_planned_are_named(plan: Plan) -> None:
    [found] = judge_start(
        parse_start([line.replace("layer 2 (MoE) has 32", "layer 2 (MoE) has 8") for line in START]), plan
    )
    assert found.id == "kt.experts"
    assert "layer 2 has 8 where 32" in found.evidence


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("NUMA node 1 not found", "kt.pools"),
        ("set_mempolicy: Operation not permitted", "kt.binding"),
        ("Core 40 inside NUMA node 0 not found", "kt.threads"),
    ],
)
def test_what_kt_kernel_complains_of_is_a_finding(line: str, named: str, plan: Plan) -> None:
    found = judge_start(parse_start([*START, line]), plan)
    assert [one.id for one in found if one.severity == "costs"] == [named]


def test_a_plan_for_another_runtime_is_refused(plan: Plan) -> None:
    with pytest.raises(ValueError, match="not for KTransformers"):
        judge_start(KtStart(), replace(plan, parameters=replace(plan.parameters, kt=None)))
