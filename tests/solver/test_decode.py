"""What a token costs: the terms behave as the physics says, on machines that people have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.solver.decode import decode_costs, kv_read_bytes, touched_share
from app.solver.plan import KtParameters, Parameters, Placement
from app.solver.prediction import decode_speed, predict_decode
from app.solver.scene import Scene, total_ms
from detectors.facts import Machine
from tests.solver.machines import desktop, gpt_oss_120b, plain, scene, strix_halo_with_radeon

PARAMETERS = Parameters(
    context=8192, parallel=1, ubatch=512, batch=2048, kv_type_k="f16", kv_type_v="f16", flash_attention=True,
    load_mode="none", threads=16, threads_batch=16,
)  # fmt: skip


def hybrid(machine: Machine, on_gpu: int = 8) -> tuple[Scene, Placement]:
    """gpt-oss with the experts of some layers on the first GPU and the others on the CPU."""
    shape = gpt_oss_120b()
    gpu = next(device.id for device in machine.devices if device.kind == "dgpu")
    owners = [gpu] * on_gpu + ["cpu"] * (len(shape.layers) - on_gpu)
    return scene(machine, shape), Placement.on(gpu, owners)


def faster_memory(machine: Machine, device_id: str, factor: float) -> Machine:
    devices = tuple(
        replace(device, bandwidth_gbps=(device.bandwidth_gbps or 50.0) * factor) if device.id == device_id else device
        for device in machine.devices
    )
    return replace(machine, devices=devices)


def test_a_longer_context_never_makes_a_token_faster() -> None:
    for made, placement in (hybrid(desktop()), (scene(plain(ram_gib=96), gpt_oss_120b()), cpu_only())):
        speeds = [decode_speed(made, placement, PARAMETERS, context=depth) for depth in (0, 100, 4096, 32768, 131072)]
        assert speeds == sorted(speeds, reverse=True)
        assert speeds[0] > speeds[-1]


def cpu_only() -> Placement:
    return Placement.on("cpu", ["cpu"] * len(gpt_oss_120b().layers))


@pytest.mark.parametrize("device", ["cpu", "gpu:a"])
def test_more_bandwidth_never_makes_a_token_slower(device: str) -> None:
    machine = desktop()
    _, placement = hybrid(machine)
    speeds = [
        decode_speed(scene(faster_memory(machine, device, factor), gpt_oss_120b()), placement, PARAMETERS, context=8192)
        for factor in (0.5, 1.0, 2.0)
    ]
    assert speeds[0] < speeds[1] <= speeds[2]


def test_the_terms_of_a_prediction_add_up_to_its_time() -> None:
    made, placement = hybrid(desktop())
    found = predict_decode(made, placement, PARAMETERS, context=8192)
    assert sum(term.value for term in found.terms) == pytest.approx(found.ms_per_token)
    assert found.low < found.tokens_per_s < found.high


def test_every_layer_that_moves_to_the_faster_device_helps() -> None:
    machine = desktop(vram_gib=200)
    speeds = [decode_speed(*hybrid(machine, layers), PARAMETERS, context=4096) for layers in range(0, 37, 4)]
    assert speeds == sorted(speeds)


def test_more_sequences_give_more_tokens_until_multiplying_binds() -> None:
    made, placement = hybrid(desktop(vram_gib=200), 36)
    speeds = [decode_speed(made, placement, PARAMETERS, context=1024, batch=count) for count in (1, 2, 4, 8, 16)]
    assert speeds == sorted(speeds)
    one, many = (decode_costs(made, placement, PARAMETERS, context=1024, batch=count) for count in (1, 4096))
    assert "gpu_flops" not in {cost.coefficient for cost in one}
    assert "gpu_flops" in {cost.coefficient for cost in many}


def test_a_batch_reads_every_expert_once_at_most() -> None:
    shape = gpt_oss_120b()
    shares = [touched_share(shape, count) for count in (1, 2, 8, 64, 1024)]
    assert shares[0] == pytest.approx(4 / 128)
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_few_threads_multiply_slower_than_memory_delivers() -> None:
    made, placement = hybrid(desktop())
    speeds = {
        count: decode_speed(made, placement, replace(PARAMETERS, threads=count), context=128) for count in (1, 4, 8, 16)
    }
    assert speeds[1] < speeds[4] < speeds[8]
    costs = decode_costs(made, placement, replace(PARAMETERS, threads=1), context=128)
    assert "cpu_flops" in {cost.coefficient for cost in costs}


def test_a_quantized_cache_costs_more_time_on_fewer_bytes() -> None:
    made, placement = hybrid(desktop())
    quantized = replace(PARAMETERS, kv_type_k="q8_0", kv_type_v="q8_0")
    layer = next(layer for layer in made.shape.layers if layer.kind == "full")
    assert kv_read_bytes(layer, made.shape, quantized, 32768) < kv_read_bytes(layer, made.shape, PARAMETERS, 32768)
    assert decode_speed(made, placement, quantized, context=32768) < decode_speed(
        made, placement, PARAMETERS, context=32768
    )


def test_experts_on_another_device_cost_a_crossing_for_every_layer() -> None:
    made, placement = hybrid(desktop(), on_gpu=6)
    crossing = [c for c in decode_costs(made, placement, PARAMETERS, context=128) if c.coefficient == "crossing"]
    assert sum(cost.quantity for cost in crossing) == 30


def test_resident_experts_take_their_share_off_the_cpu() -> None:
    made, placement = hybrid(desktop(), on_gpu=0)
    kt = KtParameters("AMXINT4", 32, 1, 64, 4096)
    half = replace(placement, resident_experts=made.shape.expert_count // 2)
    with_kt = replace(PARAMETERS, kt=kt)
    read = {
        name: sum(c.quantity for c in decode_costs(made, one, with_kt, context=128) if c.coefficient == "kt_weights")
        for name, one in (("none", placement), ("half", half))
    }
    assert read["half"] == pytest.approx(read["none"] / 2)
    assert decode_speed(made, half, with_kt, context=128) > decode_speed(made, placement, with_kt, context=128)


def test_norms_left_on_the_cpu_cost_barriers_there() -> None:
    made, placement = hybrid(desktop())
    moved = replace(placement, host_norms=True)
    assert decode_speed(made, moved, PARAMETERS, context=128) < decode_speed(made, placement, PARAMETERS, context=128)


def test_attention_beside_the_experts_gains_with_depth_on_an_apu_with_a_card() -> None:
    made = scene(strix_halo_with_radeon(), gpt_oss_120b())
    apart, together = Placement.on("gpu:a", ["gpu:i"] * 36), Placement.on("gpu:i", ["gpu:i"] * 36)
    gains = [
        decode_speed(made, apart, PARAMETERS, context=depth) / decode_speed(made, together, PARAMETERS, context=depth)
        for depth in (1024, 32768, 65536, 98304)
    ]
    assert gains == sorted(gains)
    assert gains[0] < 1.15
    assert gains[-1] > 1.35


def test_costs_are_those_of_the_layers_whatever_their_order_in_runs() -> None:
    made, placement = hybrid(desktop(), on_gpu=18)
    mixed = replace(placement, experts=tuple("gpu:a" if i % 2 else "cpu" for i in range(36)))
    one, other = (
        total_ms(decode_costs(made, each, PARAMETERS, context=2048), made.coefficients) for each in (placement, mixed)
    )
    assert one == pytest.approx(other)
