"""KTransformers plans keep the runtime's hard limits, and its command has only options that it knows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import NoFitError
from app.jobs.planning import find_model
from app.runtimes.ktransformers_command import ktransformers_command, ktransformers_engine
from app.solver.kt_memory import converted, gpu_memory, host_memory
from app.solver.kt_methods import METHODS, misaligned, missing_isa, pool_counts
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import ModelShape, Policy, Workload
from app.solver.plan import KtParameters, Parameters, Plan
from app.units import GIB, MIB
from detectors.facts import Cpu, Device, Machine, MemoryPool, NumaNode
from tests.solver.machines import dense, gpt_oss_120b, scene

KNOWN_OPTIONS = Path(__file__).parents[3] / "shared" / "data" / "sglang_kt_0.7.2_args.json"
"""Every option of sglang-kt 0.7.2, taken from its source; not part of the project."""

XEON = ("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
ZEN4 = XEON[:5]


def server(
    *, isa: tuple[str, ...] = XEON, nodes: int = 2, ram_gib: int = 512, gpus: int = 1, vram_gib: int = 24
) -> Machine:
    """A server with so many NUMA nodes and equal cards."""
    cpu = Cpu(
        "Xeon", "GenuineIntel", "x86_64", nodes, 32 * nodes, 64 * nodes, isa,
        numa_nodes=tuple(NumaNode(i, (i,), ram_gib * GIB // nodes) for i in range(nodes)),
        decode_threads=32 * nodes,
    )  # fmt: skip
    cards = tuple(
        Device(f"gpu:{i}", "dgpu", "RTX 4090", "NVIDIA", f"vram:{i}", arch="sm_89", bandwidth_gbps=1008.0)
        for i in range(gpus)
    )
    pools = (
        MemoryPool("ram", "RAM", ram_gib * GIB, ram_gib * GIB - 8 * GIB),
        *(MemoryPool(f"vram:{i}", "VRAM", vram_gib * GIB, vram_gib * GIB - 400 * MIB) for i in range(gpus)),
    )
    host = Device("cpu", "cpu", "CPU", "Intel", "ram", bandwidth_gbps=280.0 * nodes, bandwidth_basis="driver")
    return Machine("server", cpu=cpu, pools=pools, devices=(host, *cards))


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


def test_the_command_has_only_options_that_sglang_kt_knows(qwen: ModelShape, large: ModelShape) -> None:
    if not KNOWN_OPTIONS.is_file():
        pytest.skip(f"the list of sglang-kt's options is not at {KNOWN_OPTIONS}")
    known = {
        flag: argument for argument in json.loads(KNOWN_OPTIONS.read_text())["arguments"] for flag in argument["flags"]
    }
    for machine in (server(), server(isa=("avx2",)), server(gpus=2)):
        for shape in (qwen, large):
            try:
                made = plan(machine, shape, context=16384)
            except NoFitError:
                continue
            argv = ktransformers_command(made, ktransformers_engine(), port=8080).argv[3:]
            for index, word in enumerate(argv):
                if not word.startswith("--"):
                    continue
                assert word in known, word
                value = argv[index + 1] if index + 1 < len(argv) else ""
                takes = "action" not in known[word]
                assert takes != value.startswith("--") or value == "", word
                if takes and known[word].get("choices"):
                    assert value in known[word]["choices"], word
                if takes and known[word].get("type") in ("int", "float"):
                    float(value)


def test_the_command_says_what_the_plan_says(qwen: ModelShape) -> None:
    made = plan(server(), qwen, context=16384)
    kt = made.parameters.kt
    assert kt is not None
    command = ktransformers_command(made, ktransformers_engine(), port=8123)
    words = " ".join(command.argv)
    assert f"--kt-method {kt.method} " in words
    assert f"--kt-cpuinfer {kt.cpu_threads} --kt-threadpool-count {kt.pools} " in words
    assert f"--kt-num-gpu-experts {kt.resident_experts} " in words
    assert "--context-length 16384 --max-total-tokens 16384" in words
    assert command.url == "http://127.0.0.1:8123"
    share = float(command.argv[command.argv.index("--mem-fraction-static") + 1])
    assert 0.5 < share < 0.95
