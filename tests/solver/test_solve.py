"""The chosen plan is the one the physics asks for, on machines that people have."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from app.errors import NoFitError
from app.solver.budget import needed_bytes
from app.solver.model import Policy, Workload
from app.solver.plan import Plan
from app.solver.search import solve
from app.units import GIB
from detectors.facts import Device, Machine, MemoryPool
from tests.solver.machines import dense, desktop, gpt_oss_120b, plain, scene, strix_halo_with_radeon


def test_attention_goes_to_the_discrete_gpu_and_experts_to_the_apu() -> None:
    plan = solve(scene(strix_halo_with_radeon(), gpt_oss_120b()), Workload(context=98304), Policy())
    assert plan.placement.attention_devices == ("gpu:a",)
    assert "gpu:i" in plan.placement.experts
    assert "cpu" not in plan.placement.experts


def test_the_fast_device_is_filled_with_experts_before_the_slow_one() -> None:
    plan = solve(scene(desktop(), gpt_oss_120b()), Workload(context=8192), Policy())
    on_gpu, on_cpu = plan.placement.expert_layers("gpu:a"), plan.placement.expert_layers("cpu")
    assert on_gpu
    assert on_cpu
    memory = plan.memory_of("gpu:a")
    assert memory.available_bytes is not None
    one_layer = gpt_oss_120b().layers[0].expert_bytes
    left = memory.available_bytes - memory.reserve_bytes - memory.total_bytes
    assert 0 <= left < 2 * one_layer, "another layer would have fitted"


def test_everything_on_one_gpu_when_it_fits() -> None:
    plan = solve(scene(desktop(vram_gib=96), gpt_oss_120b()), Workload(), Policy())
    assert plan.placement.devices == ("gpu:a",)


def test_a_split_is_faster_than_each_device_alone_and_says_so() -> None:
    machine, shape = strix_halo_with_radeon(), gpt_oss_120b()
    split = solve(scene(machine, shape), Workload(), Policy())
    alone = solve(scene(machine, shape), Workload(), Policy(devices=("gpu:i",)))
    assert split.decode.tokens_per_s > alone.decode.tokens_per_s
    assert any("all on 8060S" in other.label for other in split.alternatives)
    assert all(other.why for other in split.alternatives)


@pytest.mark.parametrize("machine", [strix_halo_with_radeon(), desktop(), desktop(ram_gib=128), plain(ram_gib=96)])
@pytest.mark.parametrize("context", [4096, 32768, 131072])
def test_no_pool_is_overfilled(machine: Machine, context: int) -> None:
    plan = solve(scene(machine, gpt_oss_120b()), Workload(context=context), Policy())
    needed = needed_bytes(gpt_oss_120b(), plan.placement, plan.parameters)
    assert needed == {memory.device_id: memory.total_bytes - memory.other_bytes for memory in plan.memory}
    for pool in machine.pools:
        drawn = sum(m.total_bytes for m in plan.memory if machine.device(m.device_id).pool_id == pool.id)
        assert drawn < (pool.available_bytes or pool.total_bytes)


def test_all_weights_are_placed_once() -> None:
    shape = gpt_oss_120b()
    plan = solve(scene(strix_halo_with_radeon(), shape), Workload(), Policy())
    assert sum(memory.weight_bytes for memory in plan.memory) == shape.file_bytes


def test_decode_slows_with_context_and_terms_add_up() -> None:
    speeds = []
    for prompt in (512, 8192, 95000):
        work = Workload(context=98304, prompt_tokens=prompt)
        plan = solve(scene(strix_halo_with_radeon(), gpt_oss_120b()), work, Policy())
        assert sum(term.value for term in plan.decode.terms) == pytest.approx(plan.decode.ms_per_token)
        assert plan.decode.low < plan.decode.tokens_per_s < plan.decode.high
        speeds.append(plan.decode.tokens_per_s)
    assert all(earlier > later for earlier, later in itertools.pairwise(speeds))


def test_gtt_bounds_the_apu() -> None:
    shape = gpt_oss_120b()
    plan = solve(scene(strix_halo_with_radeon(gtt_gib=16), shape), Workload(), Policy())
    assert plan.memory_of("gpu:i").total_bytes + plan.memory_of("gpu:i").reserve_bytes <= 16 * GIB


def test_a_limit_moves_experts_off_a_device() -> None:
    free = solve(scene(desktop(), gpt_oss_120b()), Workload(), Policy())
    held = solve(scene(desktop(), gpt_oss_120b()), Workload(), Policy(limits=(("gpu:a", 10 * GIB),)))
    assert len(held.placement.expert_layers("gpu:a")) < len(free.placement.expert_layers("gpu:a"))
    assert held.memory_of("gpu:a").total_bytes <= 10 * GIB


def test_remote_devices_count_like_others() -> None:
    remotes = tuple(Device(f"remote:{n}", "remote", n, "RPC", f"remote:{n}") for n in ("near", "far"))
    pools = tuple(MemoryPool(device.pool_id, device.name, 64 * GIB, 64 * GIB) for device in remotes)
    machine = plain()
    machine = Machine("net", cpu=machine.cpu, pools=(*machine.pools, *pools), devices=(*machine.devices, *remotes))
    policy = Policy(devices=("remote:near", "remote:far"), limits=(("remote:near", 40 * GIB), ("remote:far", 40 * GIB)))
    plan = solve(scene(machine, gpt_oss_120b()), Workload(), policy)
    assert set(plan.placement.devices) == {"remote:near", "remote:far"}
    assert plan.decode.basis == "estimated"


def test_a_dense_model_has_no_experts_to_place() -> None:
    plan = solve(scene(desktop(), dense()), Workload(), Policy())
    assert plan.placement.devices == ("gpu:a",)
    assert any("dense" in note for note in plan.notes)


def test_what_cannot_fit_says_by_how_much_and_what_to_do() -> None:
    with pytest.raises(NoFitError) as caught:
        solve(scene(plain(), gpt_oss_120b()), Workload(), Policy())
    assert "GiB more of CPU" in caught.value.message
    assert caught.value.hint


def test_a_context_beyond_training_is_noted() -> None:
    plan = solve(scene(desktop(), dense()), Workload(context=32768), Policy())
    assert any("trained for" in note for note in plan.notes)


def _ubatch(plan: Plan) -> int:
    return plan.parameters.ubatch


def test_a_wider_ubatch_is_chosen_where_experts_are_streamed() -> None:
    long = Workload(prompt_tokens=8000)
    assert _ubatch(solve(scene(desktop(), gpt_oss_120b()), long, Policy())) == 4096
    assert _ubatch(solve(scene(desktop(), gpt_oss_120b()), Workload(prompt_tokens=100), Policy())) == 512
    assert _ubatch(solve(scene(desktop(), gpt_oss_120b()), Workload(), Policy(ubatch=256))) == 256


def test_a_twin_is_not_tried_in_the_others_place() -> None:
    one = desktop(vram_gib=80)
    twin = replace(one.devices[1], id="gpu:b", pool_id="vram:b")
    pool = replace(one.pools[1], id="vram:b")
    machine = replace(one, devices=(*one.devices, twin), pools=(*one.pools, pool))
    plan = solve(scene(machine, gpt_oss_120b()), Workload(), Policy(devices=("gpu:a", "gpu:b", "cpu")))
    assert plan.placement.devices == ("gpu:a",)
    assert all(other.label != "all on RTX 4090" for other in plan.alternatives)


def test_layers_take_longer_on_virtual_cpus() -> None:
    metal = plain(ram_gib=96)
    assert metal.cpu is not None
    virtual = replace(metal, cpu=replace(metal.cpu, hypervisor="KVM"))
    speeds = [solve(scene(one, gpt_oss_120b()), Workload(), Policy()).decode.tokens_per_s for one in (metal, virtual)]
    assert speeds[0] > speeds[1]


def test_a_server_on_this_host_is_no_faster_than_the_host_itself() -> None:
    machine = plain(ram_gib=128)
    loopback = Device("remote:127.0.0.1:1", "remote", "RPC0", "", "ram")
    machine = replace(machine, devices=(*machine.devices, loopback))
    plan = solve(scene(machine, gpt_oss_120b()), Workload(), Policy())
    assert plan.placement.devices == ("cpu",)


def test_a_dense_model_that_no_gpu_holds_is_divided() -> None:
    shape = dense()
    plan = solve(scene(desktop(vram_gib=4), shape), Workload(context=4096), Policy())
    assert plan.placement.attention_devices == ("cpu", "gpu:a")
    assert plan.placement.attention == tuple(sorted(plan.placement.attention)), "two blocks, the host's first"
    assert plan.placement.head == "gpu:a"
    memory = plan.memory_of("gpu:a")
    assert memory.available_bytes is not None
    left = memory.available_bytes - memory.reserve_bytes - memory.total_bytes
    assert 0 <= left < 2 * shape.layers[0].weight_bytes, "another layer would have fitted"
    assert any("all on CPU" in other.label for other in plan.alternatives)
