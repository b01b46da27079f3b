"""The plans of golden.toml: real machines' shapes, models that people run, and what must come out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from app.errors import NoFitError
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.solver.model import Policy, Workload
from app.solver.prediction import decode_speed
from app.solver.scene import Scene
from app.solver.search import solve
from detectors.facts import Machine
from detectors.registry import detect
from tests.fixtures.synthetic.machines import host

GOLDEN: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("golden.toml").read_text())["plan"]
WITHIN = 0.2


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Machine]:
    names = {case["host"] for case in GOLDEN} | {"arch-i914900kf-rtx4090"}
    return {name: detect(host(name, tmp_path_factory.mktemp("hosts") / name)) for name in names}


def planned(machine: Machine, model: str, context: int, case: dict[str, Any] | None = None) -> PlannedRun:
    asked = case or {}
    request = PlanRequest(
        model,
        Workload(context=context),
        kv_type=asked.get("kv_type"),
        capture="recorded elsewhere",
        runtimes=tuple(asked["runtimes"]) if "runtimes" in asked else None,
    )
    return make_plan(request, machine)


def labels(run: PlannedRun, owners: tuple[str, ...], only_experts: bool) -> set[str]:
    layers = run.shape.layers
    found = {owner for owner, layer in zip(owners, layers, strict=True) if layer.expert_bytes or not only_experts}
    return {run.machine.device(owner).label for owner in found}


@pytest.mark.parametrize("case", GOLDEN, ids=[case["title"].partition(":")[0] for case in GOLDEN])
def test_the_plan_is_the_golden_one(case: dict[str, Any], machines: dict[str, Machine]) -> None:
    run = planned(machines[case["host"]], case["model"], case["context"], case)
    plan = run.plan
    assert plan.runtime == case["runtime"]
    if "attention" in case:
        assert labels(run, plan.placement.attention, only_experts=False) == set(case["attention"])
    if "experts" in case:
        assert labels(run, plan.placement.experts, only_experts=True) == set(case["experts"])
    assert plan.decode.tokens_per_s == pytest.approx(case["decode"], rel=WITHIN)
    if plan.runtime == "ktransformers":
        kt = plan.parameters.kt
        assert kt is not None
        assert (kt.method, kt.pools) == (case["method"], case["pools"])
        assert not run.launchable
        assert run.command.argv[1:3] == ("-m", "sglang.launch_server")
    if "gain_over_igpu" in case:
        scene = Scene(run.machine, run.shape, run.coefficients)
        igpu = next(device.id for device in run.machine.devices if device.kind == "igpu")
        alone = solve(scene, plan.workload, Policy(devices=(igpu,), kv_type=case["kv_type"]))
        for part, expected in enumerate(case["gain_over_igpu"]):
            depth = case["context"] * part // 3
            ours, theirs = (decode_speed(scene, one.placement, one.parameters, context=depth) for one in (plan, alone))
            assert ours / theirs == pytest.approx(expected, rel=WITHIN)
        said = next(note for note in plan.notes if "against all on 8060S" in note)
        assert [f"at {mark}" in said for mark in ("0,", "32K", "64K", "96K")] == [True] * 4


def test_without_peer_to_peer_the_split_over_the_igpu_loses(machines: dict[str, Machine]) -> None:
    with_it, without = (
        planned(machines[f"debian13-strixhalo-w7900-{name}"], "gpt-oss-120b", 98304, {"kv_type": "q8_0"}).plan
        for name in ("p2p", "nop2p")
    )
    assert without.decode.tokens_per_s < 0.92 * with_it.decode.tokens_per_s
    over_igpu = next(one for one in without.alternatives if one.label.endswith("on 8060S"))
    assert over_igpu.tokens_per_s is not None
    assert over_igpu.tokens_per_s < 0.8 * with_it.decode.tokens_per_s, "the same split as with peer-to-peer"


def test_the_desktop_says_what_is_impossible_and_what_would_do(machines: dict[str, Machine]) -> None:
    desktop = machines["arch-i914900kf-rtx4090"]
    run = planned(desktop, "glm-4.5-air", 131072)
    said = next(one.why for one in run.plan.alternatives if one.label == "KTransformers")
    assert "AMXINT8 needs avx512f" in said
    with pytest.raises(NoFitError) as caught:
        planned(desktop, "qwen3-235b-a22b", 32768)
    assert "GiB more of CPU" in caught.value.message
    assert "GiB more RAM" in caught.value.hint
    assert "smaller quantization" in caught.value.hint


def test_the_loser_among_runtimes_is_named_with_what_it_costs(machines: dict[str, Machine]) -> None:
    run = planned(machines["ubuntu2404-2xxeon6430-rtx4090"], "qwen3-235b-a22b", 32768)
    other = run.plan.alternatives[0]
    assert other.label.startswith("llama.cpp: ")
    assert other.why.startswith("-")
    only = planned(
        machines["ubuntu2404-2xxeon6430-rtx4090"], "qwen3-235b-a22b", 32768, {"runtimes": ["llama.cpp"]}
    ).plan
    assert only.runtime == "llama.cpp"
    assert only.alternatives[0].label.startswith("KTransformers (AMXINT4)")
    assert only.alternatives[0].why.startswith("+")
