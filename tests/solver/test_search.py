"""The search finds what trying everything finds, and its own reckoning is the speed model's."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations, pairwise, permutations, product

import pytest

from app.solver.budget import needed_bytes, shortfall
from app.solver.layers import CostTable, layers_of
from app.solver.model import LayerShape, ModelShape, Policy, Workload
from app.solver.objectives import work_of
from app.solver.options import base_parameters, first_variant
from app.solver.placement import Candidate
from app.solver.plan import Placement
from app.solver.prediction import decode_speed
from app.solver.prefill import prefill_ms
from app.solver.scene import Scene
from app.solver.search import TIE, Search, preferred
from app.units import GIB, MIB
from detectors.facts import Device, Machine, MemoryPool
from tests.solver.machines import CPU, desktop, gpt_oss_120b, scene, strix_halo_with_radeon


def small_machine(draw: random.Random) -> Machine:
    """A host and two GPUs, each with room for a few layers at most; one of them may share the host's memory."""
    ram, near, far = (draw.randint(1, 60) * 200 * MIB for _ in range(3))
    shared = draw.random() < 0.4
    pools = [MemoryPool("ram", "RAM", 8 * ram, 4 * ram), MemoryPool("vram:a", "VRAM", near, near)]
    gpus = [Device("gpu:a", "dgpu", "A", "AMD", "vram:a", bandwidth_gbps=draw.uniform(200, 1000))]
    if shared:
        limit = draw.randint(1, 60) * 200 * MIB
        igpu = Device("gpu:b", "igpu", "B", "AMD", "ram", limit_bytes=limit, bandwidth_gbps=draw.uniform(80, 250))
        gpus.append(igpu)
    else:
        pools.append(MemoryPool("vram:b", "VRAM", far, far))
        gpus.append(Device("gpu:b", "dgpu", "B", "AMD", "vram:b", bandwidth_gbps=draw.uniform(200, 1000)))
    host = Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=draw.uniform(30, 120))
    return Machine("small", cpu=CPU, pools=tuple(pools), devices=(host, *gpus))


def small_shape(draw: random.Random, *, moe: bool) -> ModelShape:
    experts = draw.randint(1, 20) * 100 * MIB if moe else 0
    dense = 0 if moe else draw.randint(1, 20) * 100 * MIB
    one = LayerShape(60 * MIB, MIB, MIB, 0, dense, experts, kv_heads=8, key_length=128, value_length=128)
    count = draw.randint(2, 4)
    table = 100 * MIB
    return ModelShape(
        "small", "qwen3moe", (one,) * count, table, table, False, 50000, 2048, 16, 32 if moe else 0, 4 if moe else 0,
        768 if moe else 0, 0, 32768, count * one.weight_bytes + 2 * table, "Q4_K_M",
    )  # fmt: skip


def every_placement(machine: Machine, shape: ModelShape) -> Iterator[Placement]:
    """All of them: blocks of attention in every order with the host first, and experts on any device."""
    ids = [device.id for device in machine.devices]
    count = len(shape.layers)
    for parts in range(1, len(ids) + 1):
        for order in permutations(ids, parts):
            if "cpu" in order[1:]:
                continue
            for cuts in combinations(range(1, count), parts - 1):
                edges = (0, *cuts, count)
                attention = tuple(
                    device
                    for device, (start, end) in zip(order, pairwise(edges), strict=True)
                    for _ in range(end - start)
                )
                homes = product(ids, repeat=count) if shape.is_moe else (attention,)
                for experts in homes:
                    yield Placement(attention, tuple(experts), order[-1])


def seconds(asked: Scene, placement: Placement, workload: Workload, policy: Policy) -> float:
    first = base_parameters(asked.machine, workload, policy, "f16")
    parameters = first_variant(asked.machine, first, placement.devices, policy)
    work = work_of(workload)
    step = 1000.0 * work.batch / decode_speed(asked, placement, parameters, context=work.depth, batch=work.batch)
    return work.seconds(prefill_ms(asked, placement, parameters, prompt_tokens=work.prompt_tokens), step)


def fitting(asked: Scene, placement: Placement, workload: Workload, policy: Policy) -> bool:
    first = base_parameters(asked.machine, workload, policy, "f16")
    parameters = first_variant(asked.machine, first, placement.devices, policy)
    needed = needed_bytes(asked.shape, placement, parameters)
    return shortfall(asked.machine, needed, placement, policy) is None


@pytest.mark.parametrize("moe", [True, False], ids=["moe", "dense"])
def test_the_search_finds_what_trying_everything_finds(moe: bool) -> None:
    draw = random.Random(20261122)
    policy = Policy(reserve_bytes=0, kv_type="f16", ubatch=512, repacks=False)
    workload = Workload(context=4096)
    solved = 0
    for case in range(60):
        asked = scene(small_machine(draw), small_shape(draw, moe=moe))
        outcome = Search(asked, workload, policy).outcome()
        placements = every_placement(asked.machine, asked.shape)
        times = [seconds(asked, one, workload, policy) for one in placements if fitting(asked, one, workload, policy)]
        assert (outcome is None) == (not times), case
        if outcome is not None:
            solved += 1
            found = min(one.seconds for one in outcome.found)
            assert found <= min(times) * 1.005, (case, outcome.chosen.placement)
            assert fitting(asked, outcome.chosen.placement, workload, policy), case
            assert outcome.chosen.seconds <= found * (1 + TIE)
    assert solved >= 30, "most cases must say something"


@pytest.mark.parametrize("machine", [strix_halo_with_radeon(), desktop()])
def test_the_sums_are_the_speed_models_own(machine: Machine) -> None:
    asked = scene(machine, gpt_oss_120b())
    workload = Workload(context=32768, prompt_tokens=3000)
    for candidate in Search(asked, workload, Policy()).candidates("f16"):
        work = work_of(workload)
        placement, parameters = candidate.placement, candidate.parameters
        step = 1000.0 / decode_speed(asked, placement, parameters, context=work.depth)
        prompt = prefill_ms(asked, placement, parameters, prompt_tokens=work.prompt_tokens)
        assert candidate.seconds == pytest.approx(work.seconds(prompt, step), rel=0.005)
        assert candidate.answer_s == pytest.approx(work.seconds(0.0, step), rel=0.005)


def test_a_mean_layer_is_not_taken_for_every_layer() -> None:
    """Layers of unlike size: each is counted with its own bytes."""
    shape = gpt_oss_120b()
    small = replace(shape.layers[0], expert_bytes=shape.layers[0].expert_bytes // 2)
    shape = replace(shape, layers=tuple(small if i % 3 else layer for i, layer in enumerate(shape.layers)))
    asked = scene(desktop(), shape)
    layers = layers_of(shape)
    work = work_of(Workload())
    parameters = base_parameters(asked.machine, Workload(), Policy(), "f16")
    sums = CostTable(asked, layers, work).expert_sums("gpu:a", "cpu", parameters)
    steps = [right - left for left, right in zip(sums.turn, sums.turn[1:], strict=False)]
    assert len({round(step, 6) for step in steps}) == 2
    assert max(steps) > 1.3 * min(steps)


def test_what_is_as_fast_goes_to_fewer_devices() -> None:
    shape = gpt_oss_120b()
    asked = scene(desktop(vram_gib=96), shape)
    first = base_parameters(asked.machine, Workload(), Policy(), "f16")

    def candidate(seconds: float, *devices: str) -> Candidate:
        return Candidate(seconds, seconds, (("gpu:a", 36),), (), first, frozenset(devices), ())

    split, alone = candidate(10.0, "gpu:a", "cpu"), candidate(10.0 * (1 + TIE / 2), "gpu:a")
    assert preferred([split, alone]) is alone
    assert preferred([split, replace(alone, seconds=10.0 * (1 + 2 * TIE))]) is split


def test_the_longest_context_keeps_the_floor() -> None:
    asked = scene(desktop(), gpt_oss_120b())
    workload = Workload(objective="context", floor_tps=20.0)
    from app.solver.search import solve

    plan = solve(asked, workload, Policy())
    assert plan.workload.context > 8192
    assert plan.decode.at_context == plan.workload.context
    assert plan.decode.tokens_per_s >= 20.0 * (1 - TIE)
    longer = solve(asked, replace(workload, floor_tps=10.0), Policy())
    assert longer.workload.context >= plan.workload.context


def test_many_users_are_served_at_once() -> None:
    from app.solver.search import solve

    asked = scene(desktop(vram_gib=96), gpt_oss_120b())
    crowd = Workload(context=4096, parallel=8, objective="throughput")
    plan = solve(asked, crowd, Policy())
    assert plan.decode.batch == 8
    alone = solve(asked, replace(crowd, parallel=1), Policy())
    assert plan.decode.tokens_per_s > 1.5 * alone.decode.tokens_per_s
    assert plan.turn_s is not None
    assert alone.turn_s is not None
    assert plan.turn_s > alone.turn_s, "eight prompts and eight answers take longer than one"


def test_a_machine_of_many_equal_gpus_is_solved_too() -> None:
    from app.solver.search import solve

    one = desktop(ram_gib=256)
    twins = tuple(replace(one.devices[1], id=f"gpu:{i}", pool_id=f"vram:{i}") for i in range(4))
    pools = tuple(
        replace(one.pools[1], id=f"vram:{i}", total_bytes=24 * GIB, available_bytes=24 * GIB) for i in range(4)
    )
    machine = replace(one, devices=(one.devices[0], *twins), pools=(one.pools[0], *pools))
    plan = solve(scene(machine, gpt_oss_120b()), Workload(context=32768), Policy())
    assert len([d for d in plan.placement.devices if d != "cpu"]) >= 3
    assert "cpu" not in plan.placement.devices, "96 GiB of VRAM hold it"


def test_drafting_is_off_and_its_gain_is_stated_where_the_model_can() -> None:
    from app.jobs.planning import find_model
    from app.solver.search import solve

    def said(machine: Machine, name: str) -> str:
        plan = solve(scene(machine, find_model(name)), Workload(), Policy())
        assert plan.parameters.draft_tokens == 0
        return next(term.why for term in plan.choices if term.name == "draft")

    assert "no layers that could draft" in said(desktop(), "qwen3-30b-a3b")
    assert "NextN layers" in said(strix_halo_with_radeon(), "glm-4.5-air")


def test_every_parameter_says_why() -> None:
    from app.solver.search import solve

    plan = solve(scene(desktop(), gpt_oss_120b()), Workload(), Policy())
    names = [term.name for term in plan.choices]
    assert {"kv_type", "ubatch", "load_mode", "host_experts", "threads", "threads_batch", "cache_ram", "draft"} <= {
        *names
    }
    assert all(term.why for term in plan.choices)
    asked = solve(scene(desktop(), gpt_oss_120b()), Workload(), Policy(ubatch=256, kv_type="q8_0", threads=3))
    assert [t.why for t in asked.choices if t.name in ("ubatch", "kv_type", "threads")] == ["as asked"] * 3


def test_a_host_short_of_ram_keeps_fewer_prompts() -> None:
    from app.solver.search import solve

    roomy = solve(scene(desktop(ram_gib=96), gpt_oss_120b()), Workload(), Policy())
    tight = solve(scene(desktop(ram_gib=50), gpt_oss_120b()), Workload(), Policy())
    assert roomy.parameters.cache_ram_bytes is None
    assert tight.parameters.cache_ram_bytes is not None
    host = tight.memory_of("cpu")
    assert host.available_bytes is not None
    assert host.total_bytes + host.reserve_bytes <= host.available_bytes


def test_several_nodes_are_filled_evenly() -> None:
    from app.solver.search import solve
    from detectors.facts import NumaNode

    machine = desktop(ram_gib=128)
    assert machine.cpu is not None
    nodes = tuple(NumaNode(i, (i,), 64 * GIB) for i in range(2))
    two = replace(machine, cpu=replace(machine.cpu, numa_nodes=nodes))
    assert solve(scene(two, gpt_oss_120b()), Workload(), Policy()).parameters.numa == "distribute"
    assert solve(scene(machine, gpt_oss_120b()), Workload(), Policy()).parameters.numa == ""
