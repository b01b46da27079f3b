"""The command of a KTransformers plan is one that sglang-kt's own parser takes, and says what the plan says."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.jobs.planning import find_model
from app.runtimes.ktransformers.command import (
    ktransformers_command,
    ktransformers_engine,
    pool_nodes,
    static_fraction,
)
from app.runtimes.ktransformers.conversion import conversion_commands, conversion_notes
from app.runtimes.ktransformers.environment import UNSET, settings
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import ModelShape, Policy, Workload
from app.solver.plan import KtParameters, Plan
from detectors.facts import Amx, Machine
from tests.solver.kt_machines import ZEN4, server
from tests.solver.machines import scene

OPTIONS = Path(__file__).parent / "options" / "sglang-kt-0.7.2.json"
WHOLE_LIST = Path(__file__).parents[3] / "shared" / "data" / "sglang_kt_0.7.2_args.json"
"""Every option of sglang-kt 0.7.2, taken from its source; not part of the project."""

TYPES = {"str": str, "int": int, "float": float}
KINDS: tuple[dict[str, Any], ...] = ({}, {"nodes": 1}, {"isa": ZEN4}, {"gpus": 2}, {"gpus": 4, "vram_gib": 48})
METHODS = ("AMXINT8", "FP8", "BF16", "AMXINT4")


class Strict(argparse.ArgumentParser):
    """Raises where argparse would end the program."""

    def error(self, message: str) -> object:  # type: ignore[override]
        raise ValueError(message)


def parser() -> Strict:
    """With the options of the extract: names, types, numbers of values and choices as SGLang has them."""
    built = Strict(allow_abbrev=False)
    for argument in json.loads(OPTIONS.read_text())["arguments"]:
        flags = argument.pop("flags")
        if "type" in argument:
            argument["type"] = TYPES[argument["type"]]
        built.add_argument(*flags, **argument)
    return built


def parsed(plan: Plan, **facts: object) -> argparse.Namespace:
    command = ktransformers_command(plan, ktransformers_engine(), port=8080, **facts)  # type: ignore[arg-type]
    assert command.argv[1:3] == ("-m", "sglang.launch_server")
    return parser().parse_args(command.argv[3:])


def solve(machine: Machine, shape: ModelShape, context: int = 16384, method: str | None = None) -> Plan:
    return solve_ktransformers(scene(machine, shape), Workload(context=context), Policy(kt_method=method))


def changed(plan: Plan, **values: object) -> Plan:
    """The plan with other parameters of KTransformers."""
    assert plan.parameters.kt is not None
    kt = replace(plan.parameters.kt, **values)  # type: ignore[arg-type]  # the fields are named in the calls
    return replace(plan, parameters=replace(plan.parameters, kt=kt))


@pytest.fixture(scope="module")
def qwen() -> ModelShape:
    return find_model("qwen3-30b-a3b")


@pytest.fixture(scope="module")
def plan(qwen: ModelShape) -> Plan:
    return solve(server(), qwen)


def test_the_extract_is_what_the_whole_list_says() -> None:
    if not WHOLE_LIST.is_file():
        pytest.skip(f"the list of all of sglang-kt's options is not at {WHOLE_LIST}")
    whole = {tuple(one["flags"]): one for one in json.loads(WHOLE_LIST.read_text())["arguments"]}
    extract = json.loads(OPTIONS.read_text())["arguments"]
    for argument in extract:
        told = whole[tuple(argument["flags"])]
        assert all(told.get(key) == argument.get(key) for key in ("type", "choices", "nargs", "action"))
    kept = {flag for argument in extract for flag in argument["flags"]}
    assert {flag for flags in whole for flag in flags if "kt-" in flag} <= kept, "each of kt-kernel's is in it"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("machine", [server(ram_gib=1024, **kind) for kind in KINDS])
@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "qwen3-235b-a22b"])
def test_sglangs_parser_takes_every_command(machine: Machine, model: str, method: str) -> None:
    shape = find_model(model)
    made = solve(machine, shape, method=method)
    kt = made.parameters.kt
    assert kt is not None
    told = parsed(made, machine=machine, shape=shape)
    assert (told.kt_method, told.kt_cpuinfer, told.kt_threadpool_count) == (method, kt.cpu_threads, kt.pools)
    assert (told.kt_num_gpu_experts, told.chunked_prefill_size) == (kt.resident_experts, kt.chunked_prefill)
    assert (told.kt_gpu_prefill_token_threshold or 0) == kt.gpu_prefill_tokens
    assert told.tensor_parallel_size == kt.tensor_parallel
    assert (told.context_length, told.max_total_tokens) == (16384, made.parameters.context)
    assert told.kt_weight_path == ("WEIGHTS" if method.startswith("AMX") else "MODEL")
    assert 0.1 < told.mem_fraction_static < 1
    assert told.kt_expert_placement_strategy == "uniform"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--kt-expert-placement-strategy", "fastest"), "invalid choice"),
        (("--kt-cpuinfer", "many"), "invalid int value"),
        (("--kt-gpu-experts", "3"), "unrecognized arguments"),
        (("--attention-backend", "fa2"), "invalid choice"),
    ],
)
def test_what_sglang_would_refuse_is_refused(plan: Plan, wrong: tuple[str, ...], said: str) -> None:
    argv = ktransformers_command(plan, ktransformers_engine(), port=8080).argv[3:]
    with pytest.raises(ValueError, match=said):
        parser().parse_args([*argv, *wrong])


def test_the_static_share_holds_weights_and_cache_and_leaves_the_rest(plan: Plan) -> None:
    gpu = plan.memory_of(plan.placement.head)
    assert gpu.available_bytes is not None
    share = static_fraction(plan)
    assert share * gpu.available_bytes >= gpu.weight_bytes + gpu.kv_bytes
    assert (1 - share) * gpu.available_bytes >= gpu.compute_bytes, "activations and graphs come from the rest"


def test_deferred_experts_are_told_and_off_by_default(plan: Plan) -> None:
    assert parsed(plan).kt_max_deferred_experts_per_token == 0
    assert parsed(changed(plan, deferred_experts=2)).kt_max_deferred_experts_per_token == 2


def test_experts_are_picked_anew_only_where_prompts_pass_through_the_gpu(plan: Plan) -> None:
    assert not parsed(changed(plan, gpu_prefill_tokens=0)).kt_enable_dynamic_expert_update
    assert parsed(changed(plan, gpu_prefill_tokens=1024, resident_experts=8)).kt_enable_dynamic_expert_update
    assert not parsed(changed(plan, gpu_prefill_tokens=1024, resident_experts=0)).kt_enable_dynamic_expert_update


def test_nodes_are_named_where_they_do_not_count_from_0(plan: Plan) -> None:
    machine = server(nodes=2)
    assert machine.cpu is not None
    assert pool_nodes(machine.cpu, 2) == ()
    assert parsed(plan, machine=machine).kt_numa_nodes is None
    first, second = machine.cpu.numa_nodes
    far = replace(machine, cpu=replace(machine.cpu, numa_nodes=(first, replace(second, id=2))))
    assert parsed(plan, machine=far).kt_numa_nodes == [0, 2]
    memory_less = replace(machine.cpu, numa_nodes=(replace(first, memory_bytes=0), second))
    assert pool_nodes(memory_less, 1) == (1,)


def test_sparse_attention_keeps_its_own_backend(plan: Plan, qwen: ModelShape) -> None:
    assert parsed(plan, shape=qwen).attention_backend == "flashinfer"
    assert parsed(plan, shape=replace(qwen, architecture="deepseek32")).attention_backend is None


def test_a_slow_prompt_is_not_killed_by_the_watchdog(plan: Plan) -> None:
    assert plan.prefill is not None
    assert parsed(plan).watchdog_timeout is None
    slow = changed(replace(plan, prefill=replace(plan.prefill, low=10.0)), chunked_prefill=4096)
    assert parsed(slow).watchdog_timeout == pytest.approx(4 * 4096 / 10, abs=1)


@pytest.mark.parametrize(
    ("method", "arch", "names"),
    [
        ("AMXINT8", "sm_89", {"PYTORCH_ALLOC_CONF"}),
        ("FP8", "sm_89", {"PYTORCH_ALLOC_CONF", "SGLANG_ENABLE_JIT_DEEPGEMM"}),
        ("FP8", "sm_120", {"PYTORCH_ALLOC_CONF", "SGLANG_ENABLE_JIT_DEEPGEMM"}),
        ("FP8", "sm_90", {"PYTORCH_ALLOC_CONF"}),
        ("NVFP4", "sm_120", {"PYTORCH_ALLOC_CONF", "KT_MXFP4_BACKEND"}),
    ],
)
def test_variables_are_set_where_they_hold(method: str, arch: str, names: set[str]) -> None:
    machine = server()
    machine = replace(machine, devices=(machine.devices[0], replace(machine.devices[1], arch=arch)))
    found = settings(KtParameters(method, 32, 1, 8, 4096), machine)
    assert {setting.name for setting in found} == names
    assert all(setting.why for setting in found)


def test_a_processor_whose_amx_is_refused_is_told_to_take_the_other_build(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = server()
    assert machine.cpu is not None
    refused = replace(machine, cpu=replace(machine.cpu, amx=Amx(("amx_tile", "amx_int8"), True, False, "EPERM")))
    monkeypatch.setenv("KT_KERNEL_CPU_VARIANT", "amx")
    command = ktransformers_command(plan, ktransformers_engine(), port=8080, machine=refused)
    assert command.env["KT_KERNEL_CPU_VARIANT"] == "avx512_bf16"
    assert "KT_KERNEL_CPU_VARIANT" not in command.unset
    granted = replace(machine, cpu=replace(machine.cpu, amx=Amx(("amx_tile", "amx_int8"), True, True)))
    command = ktransformers_command(plan, ktransformers_engine(), port=8080, machine=granted)
    assert "KT_KERNEL_CPU_VARIANT" not in command.env


def test_variables_that_choose_other_kernels_are_taken_out(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KT_KERNEL_CPU_VARIANT", "avx2")
    command = ktransformers_command(plan, ktransformers_engine(), port=8080)
    assert command.unset == ("KT_KERNEL_CPU_VARIANT",)


def test_a_plan_for_another_runtime_is_refused(plan: Plan) -> None:
    other = replace(plan, parameters=replace(plan.parameters, kt=None))
    with pytest.raises(ValueError, match="not for KTransformers"):
        ktransformers_command(other, ktransformers_engine(), port=8080)


def test_weights_are_converted_for_the_plans_method_and_pools(plan: Plan) -> None:
    clone, experts, rest = conversion_commands(changed(plan, method="AMXINT4", pools=2, cpu_threads=60))
    assert clone.startswith("git clone")
    words = shlex.split(experts)
    assert words[1].endswith("scripts/convert_cpu_weights.py")
    given = dict(zip(words[2::2], words[3::2], strict=True))
    assert (given["--quant-method"], given["--threadpool-count"], given["--cpuinfer-threads"]) == ("int4", "2", "60")
    assert given["--output"] == "WEIGHTS"
    assert "convert_gpu_weights.py" in rest
    assert "--output_dir MODEL" in rest


def test_a_checkpoint_that_is_used_as_it_is_needs_no_conversion(plan: Plan) -> None:
    for method in ("FP8", "BF16"):
        assert conversion_commands(changed(plan, method=method)) == ()
        assert conversion_notes(changed(plan, method=method)) == ()
    assert any("--threadpool-count" in note for note in conversion_notes(changed(plan, method="AMXINT8")))
