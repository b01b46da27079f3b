"""KTransformers plans keep the runtime's hard limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.errors import NoFitError
from app.jobs.planning import find_model
from app.solver.kt_memory import converted, gpu_memory, host_memory
from app.solver.kt_methods import METHODS, misaligned, missing_isa, pool_counts
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import ModelShape, Policy, Workload
from app.solver.plan import KtParameters, Parameters, Plan
from detectors.facts import Machine
from tests.solver.kt_machines import XEON, ZEN4, server
from tests.solver.machines import dense, gpt_oss_120b, scene


@pytest.fixture(scope="module")
def qwen() -> ModelShape:
    return find_model("qwen3-30b-a3b")


@pytest.fixture(scope="module")
def large() -> ModelShape:
    return find_model("qwen3-235b-a22b")


def plan(machine: Machine, shape: ModelShape, *, context: int = 8192) -> Plan:
    return solve_ktransformers(scene(machine, shape), Workload(context=context), Policy())


@pytest.mark.parametrize("context", [4096, 32768])
@pytest.mark.parametrize(
    "machine", [server(), server(nodes=1), server(isa=ZEN4), server(isa=("avx2",)), server(gpus=2)]
)
def test_every_plan_keeps_its_pools_and_their_memory(machine: Machine, qwen: ModelShape, context: int) -> None:
    made = plan(machine, qwen, context=context)
    kt = made.parameters.kt
    assert kt is not None
    method = next(one for one in METHODS if one.name == kt.method)
    assert not misaligned(method, qwen.expert_ff, kt.pools)
    assert not missing_isa(method, machine.cpu)
    assert kt.pools <= max(pool_counts(machine.cpu))
    assert machine.cpu is not None
    assert kt.cpu_threads < (machine.cpu.physical_cores or 0), "a core is left to the GPU's own thread"
    assert qwen.heads % kt.tensor_parallel == 0
    for memory in made.memory:
        assert memory.available_bytes is not None
        assert memory.total_bytes + memory.reserve_bytes <= memory.available_bytes
    host = made.memory_of("cpu")
    weights = sum(layer.expert_weights for layer in qwen.layers)
    assert host.weight_bytes == pytest.approx(weights * method.bytes_per_weight, rel=1e-6), "resident ones too"


def test_experts_fill_the_card_and_no_more(qwen: ModelShape) -> None:
    made = plan(server(), qwen, context=8192)
    kt = made.parameters.kt
    assert kt is not None
    assert 0 < kt.resident_experts < qwen.expert_count
    method = next(one for one in METHODS if one.name == kt.method)
    more = replace(made.parameters, kt=replace(kt, resident_experts=kt.resident_experts + 1))
    gpu = made.memory_of("gpu:0")
    assert gpu.available_bytes is not None
    room = gpu.available_bytes - gpu.reserve_bytes
    assert gpu_memory(converted(qwen, method), method, more).total_bytes > room


@pytest.mark.parametrize(
    ("name", "width", "pools", "fits"),
    [
        ("AMXINT4", 768, 2, True), ("AMXINT4", 768, 4, False), ("AMXINT8", 768, 4, True), ("AMXINT4", 1536, 8, False),
        ("BF16", 768, 8, True), ("FP8", 1408, 2, False), ("AMXINT8", 768, 5, False),
    ],
)  # fmt: skip
def test_widths_are_shared_as_the_kernels_can(name: str, width: int, pools: int, fits: bool) -> None:
    method = next(one for one in METHODS if one.name == name)
    assert (misaligned(method, width, pools) == "") == fits


def test_work_buffers_are_what_was_measured() -> None:
    # kt-kernel 0.7.2, AMXINT8, H 2048, I 768, K 8: 125, 488 and 970 MB; 32 x E rows come on top.
    shape = replace(gpt_oss_120b(), d_model=2048, expert_ff=768, expert_used=8, expert_count=128)
    for chunk, measured in ((512, 125), (2048, 488), (4096, 970)):
        parameters = Parameters(
            8192, 1, chunk, chunk, "bf16", "bf16", True, "mmap", 1, 1,
            kt=KtParameters("AMXINT8", 1, 1, 0, chunk),
        )  # fmt: skip
        said = host_memory(shape, parameters).compute_bytes / 1e6
        assert said == pytest.approx(measured, rel=0.6 if chunk == 512 else 0.15)


def test_four_bits_are_for_large_models_only(qwen: ModelShape, large: ModelShape) -> None:
    small = plan(server(), qwen, context=8192).parameters.kt
    assert small is not None
    assert small.method != "AMXINT4", "its documents warn of it for this very model"
    made = plan(server(), large, context=8192)
    assert made.parameters.kt is not None
    assert made.parameters.kt.method == "AMXINT4"
    assert any("costs accuracy" in note for note in made.notes)


def test_the_method_is_told_by_the_processor(qwen: ModelShape) -> None:
    said = {
        name: next(term for term in plan(server(isa=isa), qwen, context=8192).choices if term.name == "kt_method")
        for name, isa in (("xeon", XEON), ("zen4", ZEN4), ("avx2", ("avx2",)))
    }
    assert "computed with AMX" in said["xeon"].why
    assert "computed with AVX-512" in said["zen4"].why
    assert said["avx2"].unit in ("FP8", "BF16")
    assert "AMXINT8 (no avx512f)" in said["avx2"].why


@pytest.mark.parametrize(
    ("machine", "model", "words"),
    [
        (server(), "dense", "does not run"),
        (server(), "gpt-oss", "do not know gpt-oss"),
        (server(gpus=0), "qwen", "no GPU"),
        (server(ram_gib=20), "qwen", "more RAM"),
        (server(vram_gib=6), "qwen", "more of RTX 4090"),
    ],
)
def test_what_cannot_be_says_why(machine: Machine, model: str, words: str, qwen: ModelShape) -> None:
    shape = {"dense": dense(), "gpt-oss": gpt_oss_120b(), "qwen": qwen}[model]
    with pytest.raises(NoFitError, match=words):
        plan(machine, shape, context=32768)


def test_cards_of_others_do_not_do(qwen: ModelShape) -> None:
    machine = server()
    amd = replace(machine.devices[1], vendor="AMD", name="Radeon PRO W7900", arch="gfx1100")
    with pytest.raises(NoFitError, match="PRO W7900 is no NVIDIA card"):
        plan(replace(machine, devices=(machine.devices[0], amd)), qwen)
    old = replace(machine.devices[1], name="RTX 2080 Ti", arch="sm_75")
    with pytest.raises(NoFitError, match=r"older than Ampere \(compute capability 7.5\)"):
        plan(replace(machine, devices=(machine.devices[0], old)), qwen)
