"""What a prompt costs: its properties, and figures that people measured."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.solver.model import LayerShape, ModelShape
from app.solver.plan import KtParameters, Parameters, Placement
from app.solver.prediction import predict_prefill
from app.solver.prefill import (
    UBATCHES,
    prefill_costs,
    prefill_ms,
    streaming_crossover,
    streaming_saturation,
    tokens_together,
)
from app.solver.scene import Engine, Scene, total_ms
from app.units import GIB
from detectors.facts import Cpu, Device, Link, Machine, MemoryBus, MemoryFacts, MemoryPool
from tests.solver.machines import gpt_oss_120b, scene, strix_halo_with_radeon

PLAIN = Parameters(32768, 1, 512, 2048, "f16", "f16", True, "none", 16, 16)
CARD = "gpu:a"


def host(*, link: float = 31.5, card: str = "GeForce RTX 4090", tflops: float = 165.2, gbps: float = 1008.0) -> Machine:
    """A Ryzen 9 7950X beside one NVIDIA card over PCIe."""
    isa = ("avx2", "avx512f", "avx512_vnni")
    return Machine(
        "host",
        cpu=Cpu("Ryzen 9 7950X", "AuthenticAMD", "x86_64", 1, 16, 32, isa, family=25),
        pools=(MemoryPool("ram", "RAM", 96 * GIB, 90 * GIB), MemoryPool("vram:a", "VRAM", 24 * GIB, 23 * GIB)),
        devices=(
            Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=76.8, bandwidth_basis="measured"),
            Device(CARD, "dgpu", card, "NVIDIA", "vram:a", bandwidth_gbps=gbps, fp16_tflops=tflops),
        ),
        links=(Link("cpu", CARD, link, None, None, "driver", "host"),),
        memory=MemoryFacts(96 * GIB, bus=MemoryBus(theoretical_gbps=83.2)),
    )


def llama_8b(*, bits: float) -> ModelShape:
    """32 layers of 4096, 32 query heads, 8 KV heads of 128, a network of 14336."""
    attention, network = 2 * 4096 * 4096 + 2 * 4096 * 1024, 3 * 4096 * 14336
    layer = LayerShape(
        round(attention * bits / 8), 32768, 0, 0, round(network * bits / 8), 0,
        kv_heads=8, key_length=128, value_length=128, resident_weights=attention + network,
    )  # fmt: skip
    table = round(128256 * 4096 * bits / 8)
    return ModelShape(
        "llama 8B", "llama", (layer,) * 32, table, table, False, 128256, 4096, 32, 0, 0, 0, 0, 8192, 0, ""
    )


def qwen3_30b(*, bits: float = 4.6) -> ModelShape:
    """48 layers of 2048 with 128 experts of 768, 8 used; 32 query heads, 4 KV heads of 128."""
    attention, experts = 2 * 2048 * 4096 + 2 * 2048 * 512, 128 * 3 * 2048 * 768
    layer = LayerShape(
        round(attention * bits / 8), 8192, 0, 0, 0, round(experts * bits / 8),
        kv_heads=4, key_length=128, value_length=128, resident_weights=attention, expert_weights=experts,
    )  # fmt: skip
    table = round(151936 * 2048 * bits / 8)
    return ModelShape(
        "Qwen3 30B A3B", "qwen3moe", (layer,) * 48, table, table, False, 151936, 2048, 32, 128, 8, 768, 0, 40960,
        0, "IQ4_XS",
    )  # fmt: skip


def hybrid(on_card: int = 6) -> Placement:
    """gpt-oss-120b with its attention and some layers' experts on the card, the others' in RAM."""
    return Placement.on(CARD, [CARD] * on_card + ["cpu"] * (36 - on_card))


def speed(
    at: Scene, placement: Placement, parameters: Parameters = PLAIN, *, tokens: int = 2048, depth: int = 0
) -> float:
    """Tokens per second of a prompt."""
    return 1000.0 / prefill_ms(at, placement, parameters, prompt_tokens=tokens, depth=depth)


def parts(at: Scene, placement: Placement, parameters: Parameters = PLAIN, *, tokens: int = 2048) -> set[str]:
    """The kinds of costs of a prompt."""
    return {cost.part for cost in prefill_costs(at, placement, parameters, prompt_tokens=tokens)}


@pytest.mark.parametrize("on_card", [0, 12, 36])
@pytest.mark.parametrize("tokens", [1, 31, 600, 8192])
@pytest.mark.parametrize("depth", [0, 50_000])
def test_every_term_is_positive_and_they_add_up(on_card: int, tokens: int, depth: int) -> None:
    at = scene(host(), gpt_oss_120b())
    prediction = predict_prefill(at, hybrid(on_card), PLAIN, prompt_tokens=tokens, depth=depth)
    assert all(term.value > 0 for term in prediction.terms)
    assert sum(term.value for term in prediction.terms) == pytest.approx(prediction.ms_per_token)
    assert prediction.low < prediction.tokens_per_s < prediction.high


def test_a_wider_link_is_never_slower() -> None:
    shape = gpt_oss_120b()
    speeds = [speed(scene(host(link=gbps), shape), hybrid()) for gbps in (3.9, 7.9, 15.8, 31.5, 63.0)]
    assert speeds == sorted(speeds)
    assert speeds[-1] > 3 * speeds[0]


def test_a_larger_ubatch_is_never_slower() -> None:
    at = scene(host(), gpt_oss_120b())
    speeds = [speed(at, hybrid(), replace(PLAIN, ubatch=ubatch), tokens=8192) for ubatch in (64, 256, 512, 2048, 8192)]
    assert speeds == sorted(speeds)
    assert speeds[-1] > 5 * speeds[0], "the copy of the weights is paid once for each ubatch"


@pytest.mark.parametrize("placement", [hybrid(), hybrid(36), Placement.on("cpu", ["cpu"] * 36)])
def test_a_deeper_prompt_is_never_faster(placement: Placement) -> None:
    at = scene(host(), gpt_oss_120b())
    speeds = [speed(at, placement, depth=depth) for depth in (0, 4096, 32768, 131072)]
    assert speeds == sorted(speeds, reverse=True)
    assert speeds[-1] < speeds[0]


def test_sliding_windows_and_recurrent_states_do_not_grow_with_depth() -> None:
    full = gpt_oss_120b()
    placement = hybrid(36)
    for kind in ("swa", "recurrent"):
        layers = tuple(replace(layer, kind=kind, state_bytes=1 << 20) for layer in full.layers)
        at = scene(host(), replace(full, layers=layers))
        assert speed(at, placement, depth=4096) == pytest.approx(speed(at, placement, depth=65536))
        assert speed(at, placement, depth=65536) > speed(scene(host(), full), placement, depth=65536)


def test_the_crossover_is_where_copying_begins_to_beat_the_cpu() -> None:
    at = scene(host(), gpt_oss_120b())
    ubatch = streaming_crossover(at, hybrid(), PLAIN)
    assert ubatch is not None
    for tokens in UBATCHES:
        copying = replace(PLAIN, ubatch=tokens)
        copied = speed(at, hybrid(), copying, tokens=tokens)
        assert (copied > speed(at, hybrid(), replace(copying, op_offload=False), tokens=tokens)) == (tokens >= ubatch)


def test_a_wider_link_lowers_the_crossover_and_the_saturation() -> None:
    shape = gpt_oss_120b()
    narrow, wide = (scene(host(link=gbps), shape) for gbps in (7.9, 63.0))
    early, late = (streaming_crossover(at, hybrid(), PLAIN) for at in (wide, narrow))
    assert early is not None
    assert late is None or early < late
    calm, busy = (streaming_saturation(at, hybrid(), PLAIN) for at in (wide, narrow))
    assert calm is not None
    assert busy is None or calm < busy


def test_beyond_the_saturation_the_copy_is_less_than_half() -> None:
    at = scene(host(link=63.0), gpt_oss_120b())
    ubatch = streaming_saturation(at, hybrid(), PLAIN)
    assert ubatch is not None
    for tokens, few in ((ubatch, True), (ubatch // 2, False)):
        costs = prefill_costs(at, hybrid(), replace(PLAIN, ubatch=tokens), prompt_tokens=tokens)
        copies = [cost for cost in costs if cost.part == "streaming"]
        assert (total_ms(copies, at.coefficients) < total_ms(costs, at.coefficients) / 2) == few


def test_experts_in_ram_are_copied_from_32_tokens_on() -> None:
    at = scene(host(), gpt_oss_120b())
    assert "streaming" not in parts(at, hybrid(), tokens=31)
    assert "streaming" in parts(at, hybrid(), tokens=32)


def test_ik_llama_cpp_copies_from_32_tokens_for_each_expert_on() -> None:
    at = replace(scene(host(), gpt_oss_120b()), engine=Engine("ik_llama.cpp"))
    assert "streaming" not in parts(at, hybrid(), replace(PLAIN, ubatch=1023), tokens=1023)
    assert "streaming" in parts(at, hybrid(), replace(PLAIN, ubatch=1024), tokens=1024)


@pytest.mark.parametrize("parameters", [replace(PLAIN, no_host=True), replace(PLAIN, op_offload=False)])
def test_repacked_weights_stay_and_so_do_all_without_op_offload(parameters: Parameters) -> None:
    at = scene(host(), gpt_oss_120b())
    assert "streaming" not in parts(at, hybrid(), parameters)
    assert streaming_crossover(at, hybrid(), replace(PLAIN, no_host=True)) is None


def test_experts_on_an_integrated_gpu_stay_there() -> None:
    at = scene(strix_halo_with_radeon(), gpt_oss_120b())
    placement = Placement.on(CARD, ["gpu:i"] * 36)
    assert {"experts", "crossing"} <= parts(at, placement)
    assert "streaming" not in parts(at, placement)
    assert streaming_crossover(at, placement, PLAIN) is None


def test_dense_layers_in_ram_are_copied_too() -> None:
    """llama.cpp copies every weight of the host for a large batch, not the experts alone."""
    shape = llama_8b(bits=8.5)
    half = (*["cpu"] * 16, *[CARD] * 16)
    at = scene(host(), shape)
    assert "streaming" in parts(at, Placement(half, half, CARD))


def test_mapped_weights_are_copied_slower_than_pinned_ones() -> None:
    at = scene(host(), gpt_oss_120b())
    pinned, mapped = (speed(at, hybrid(), replace(PLAIN, load_mode=mode)) for mode in ("none", "mmap"))
    assert 1.1 * mapped < pinned


def test_a_repacked_cpu_is_faster_than_a_plain_one() -> None:
    at = scene(host(), qwen3_30b())
    placement = Placement.on("cpu", ["cpu"] * 48)
    assert speed(at, placement, replace(PLAIN, no_host=True)) > 2 * speed(at, placement)


def test_ktransformers_copies_layers_of_long_prompts_alone() -> None:
    kt = KtParameters("FP8", 32, 2, 0, 32768, gpu_prefill_tokens=4096)
    at = replace(scene(host(), gpt_oss_120b()), engine=Engine("ktransformers"))
    parameters = replace(PLAIN, kt=kt)
    assert "streaming" not in parts(at, hybrid(0), parameters, tokens=4095)
    assert "streaming" in parts(at, hybrid(0), parameters, tokens=4096)


def test_resident_experts_leave_less_to_copy() -> None:
    kt = KtParameters("FP8", 32, 2, 0, 32768, gpu_prefill_tokens=400)
    at = replace(scene(host(), gpt_oss_120b()), engine=Engine("ktransformers"))
    parameters = replace(PLAIN, kt=kt)
    assert speed(at, replace(hybrid(0), resident_experts=64), parameters) > speed(at, hybrid(0), parameters)


def test_the_backend_decides_on_amd_and_not_on_nvidia() -> None:
    shape, placement = gpt_oss_120b(), hybrid(36)
    for machine, differ in ((strix_halo_with_radeon(), True), (host(), False)):
        own, vulkan = (replace(scene(machine, shape), engine=Engine(backend=name)) for name in ("", "vulkan"))
        assert (speed(own, placement) != speed(vulkan, placement)) == differ


def test_a_card_of_unknown_speed_is_an_estimate() -> None:
    at = scene(strix_halo_with_radeon(), gpt_oss_120b())
    prediction = predict_prefill(at, hybrid(36), PLAIN, prompt_tokens=2048)
    assert prediction.basis == "estimated"


def test_a_prompt_is_divided_into_equal_ubatches() -> None:
    assert tokens_together(PLAIN, 512) == 512
    assert tokens_together(PLAIN, 600) == 300
    assert tokens_together(PLAIN, 100) == 100


@pytest.mark.parametrize(
    ("bits", "tokens", "ubatch", "depth", "measured"),
    [
        (6.56, 2048, 512, 0, 3491),  # Q6_K, ubatch 512: llama.cpp PR 7860
        (3.5, 2048, 512, 0, 3699),  # Q3_K_S: llama.cpp PR 8495
        (4.5, 512, 512, 32768, 1470),  # Q4_0 at 32768 tokens: llama.cpp PR 17505
    ],
)
def test_llama_8b_on_an_rtx_3090(bits: float, tokens: int, ubatch: int, depth: int, measured: float) -> None:
    machine = host(card="GeForce RTX 3090", tflops=71.2, gbps=936.0)
    found = speed(
        scene(machine, llama_8b(bits=bits)),
        Placement.on(CARD, [CARD] * 32),
        replace(PLAIN, ubatch=ubatch),
        tokens=tokens,
        depth=depth,
    )
    assert found == pytest.approx(measured, rel=0.45)


@pytest.mark.parametrize(("engine", "measured"), [("ik_llama.cpp", 474.3), ("llama.cpp", 141.8)])
def test_qwen3_30b_on_a_ryzen_7950x_alone(engine: str, measured: float) -> None:
    """Without a card, both engines, April 2025: ik_llama.cpp discussion 357."""
    at = replace(scene(host(), qwen3_30b()), engine=Engine(engine, "cpu"))
    assert speed(at, Placement.on("cpu", ["cpu"] * 48), tokens=512) == pytest.approx(measured, rel=0.3)


@pytest.mark.parametrize(("backend", "depth", "ubatch", "measured"), [
    ("rocm", 0, 512, 626), ("vulkan", 0, 512, 720), ("vulkan", 32768, 512, 308), ("rocm", 32768, 2048, 589),
])  # fmt: skip
def test_gpt_oss_120b_on_strix_halo(backend: str, depth: int, ubatch: int, measured: float) -> None:
    """kyuz0/amd-strix-halo-toolboxes, May 2026; other hosts reach 720 to 1110 with the same file."""
    machine = strix_halo_with_radeon()
    devices = tuple(
        replace(device, fp16_tflops=59.4) if device.kind == "igpu" else device for device in machine.devices
    )
    at = replace(scene(replace(machine, devices=devices), gpt_oss_120b()), engine=Engine(backend=backend))
    placement = Placement.on("gpu:i", ["gpu:i"] * 36)
    found = speed(at, placement, replace(PLAIN, ubatch=ubatch), tokens=ubatch, depth=depth)
    assert found == pytest.approx(measured, rel=0.45)


def test_amx_is_faster_than_avx_512_where_weights_have_its_layout() -> None:
    placement, parameters = Placement.on("cpu", ["cpu"] * 48), replace(PLAIN, no_host=True, threads_batch=32)
    isa = ("avx2", "avx512f", "avx512_vnni")
    speeds = []
    for extra in ((), ("amx_tile", "amx_int8")):
        xeon = Cpu("Xeon Gold 6454S", "GenuineIntel", "x86_64", 1, 32, 64, (*isa, *extra), family=6)
        speeds.append(speed(scene(replace(host(), cpu=xeon), qwen3_30b()), placement, parameters))
    assert 1.3 * speeds[0] < speeds[1]
