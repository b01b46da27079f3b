"""What limits a plan, and what would move it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.solver.explain.bottleneck import Move, moves, shares
from app.solver.explain.pools import pool_uses
from app.solver.explain.prompts import crossover_text
from app.solver.model import Policy, Workload
from app.solver.plan import Plan
from app.solver.prediction import decode_speed
from app.solver.scene import Scene
from app.solver.search import solve
from detectors.facts import Machine
from tests.solver.machines import desktop, gpt_oss_120b, plain, scene, strix_halo_with_radeon

MACHINES = [strix_halo_with_radeon(), desktop(), plain(ram_gib=96)]


def solved(machine: Machine, work: Workload | None = None) -> tuple[Scene, Plan]:
    here = scene(machine, gpt_oss_120b())
    return here, solve(here, work or Workload(context=16384), Policy())


def move(found: tuple[Move, ...], words: str) -> Move:
    [one] = [one for one in found if words in one.change]
    return one


@pytest.mark.parametrize("machine", MACHINES)
def test_shares_are_of_the_whole_and_the_largest_is_first(machine: Machine) -> None:
    here, plan = solved(machine)
    found = shares(here, plan.decode)
    assert sum(one.share for one in found) == pytest.approx(1)
    assert sum(one.ms for one in found) == pytest.approx(plan.decode.ms_per_token)
    assert found[0].ms == max(one.ms for one in found)


def test_experts_in_ram_are_limited_by_the_ram() -> None:
    here, plan = solved(desktop())
    assert shares(here, plan.decode)[0].resource == "the RAM"


def test_a_faster_memory_gains_what_the_model_says_of_such_a_machine() -> None:
    here, plan = solved(desktop())
    cpu, gpu = here.machine.devices
    assert cpu.bandwidth_gbps is not None
    faster = replace(here.machine, devices=(replace(cpu, bandwidth_gbps=2 * cpu.bandwidth_gbps), gpu))
    speed = decode_speed(replace(here, machine=faster), plan.placement, plan.parameters, context=plan.decode.at_context)
    gain = move(moves(here, plan, Policy()), "the RAM").decode_gain
    assert gain == pytest.approx(speed / plan.decode.tokens_per_s - 1)
    assert gain > 0.3


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_better_never_loses(machine: Machine) -> None:
    here, plan = solved(machine, Workload(context=65536))
    for one in moves(here, plan, Policy()):
        assert one.turn_gain > -0.031, f"{one}: beyond what counts as equal"


def test_the_moves_are_sorted_by_what_they_gain() -> None:
    here, plan = solved(strix_halo_with_radeon())
    gains = [one.turn_gain for one in moves(here, plan, Policy())]
    assert gains == sorted(gains, reverse=True)


def test_more_memory_is_asked_only_of_cards_that_lack_it() -> None:
    here, plan = solved(desktop(vram_gib=96))
    assert not any("GiB (+50 %)" in one.change for one in moves(here, plan, Policy()))
    here, plan = solved(desktop())
    roomier = move(moves(here, plan, Policy()), "RTX 4090 with 36.0 GiB")
    assert roomier.decode_gain > 0
    assert "RTX 4090" in roomier.then


def test_a_limit_of_the_person_is_not_moved() -> None:
    here = scene(desktop(), gpt_oss_120b())
    policy = Policy(limits=(("gpu:a", 12 * 1024**3),))
    plan = solve(here, Workload(), policy)
    assert not any("(+50 %)" in one.change for one in moves(here, plan, policy))


def test_one_pool_is_one_entry_with_the_bytes_of_all_who_draw_on_it() -> None:
    here, plan = solved(strix_halo_with_radeon())
    uses = {use.pool_id: use for use in pool_uses(here.machine, plan.memory)}
    ram = [one for one in plan.memory if here.machine.device(one.device_id).pool_id == "ram"]
    assert uses["ram"].plan_bytes == sum(one.total_bytes for one in ram)
    assert set(uses["ram"].devices) == {one.device_id for one in ram}
    pool = here.machine.pool("ram")
    assert pool.available_bytes is not None
    assert uses["ram"].used_by_others_bytes == pool.total_bytes - pool.available_bytes
    assert uses["ram"].spare_bytes >= 0


def test_the_crossover_is_told_only_where_experts_could_be_copied() -> None:
    here, plan = solved(desktop())
    assert "RTX 4090" in crossover_text(here, plan)
    here, plan = solved(plain(ram_gib=96))
    assert crossover_text(here, plan) == ""
