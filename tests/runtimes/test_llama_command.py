from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import NoEngineError
from app.runtimes.base import Command, Engine
from app.runtimes.llama_command import EXPERT_TENSORS, server_command
from app.solver.plan import Plan

from .conftest import device, engine_of, plan_of

CUDA = device("CUDA0", "gpu:0000:01:00.0")
VULKAN = device("Vulkan1", "gpu:0000:c5:00.0")
RPC = (
    device("RPC0", "remote:10.0.0.1:50052", "RPC0[10.0.0.1:50052]"),
    device("RPC1", "remote:10.0.0.2:50052", "RPC0[10.0.0.2:50052]"),
    device("RPC2", "remote:10.0.0.2:50052/1", "RPC1[10.0.0.2:50052]"),
)
HYBRID = plan_of("gpu:0000:01:00.0", ("gpu:0000:c5:00.0",) * 4)


def command(plan: Plan, engine: Engine, environment: dict[str, str] | None = None) -> Command:
    return server_command(
        plan, engine, port=9001, host="127.0.0.1", config_home=Path("/none"), environment=environment or {}
    )


def value(argv: tuple[str, ...], flag: str) -> str:
    return argv[argv.index(flag) + 1]


def test_attention_on_one_device_and_experts_on_another() -> None:
    argv = command(HYBRID, engine_of("0.5.0", (CUDA, VULKAN))).argv
    assert " ".join(argv) == (
        "/opt/llama.cpp/bin/llama-server -m /models/m.gguf -dev CUDA0,Vulkan1 -ts 1,0 -ngl 999"
        r" -ot \.ffn_(up|down|gate|gate_up)_(ch|)exps=Vulkan1 -fit off -c 8192 -b 2048 -ub 512 -fa on"
        " -ctk f16 -ctv f16 -lm none -np 1 -t 2 -tb 2 --metrics --slots -lv 4 --host 127.0.0.1 --port 9001"
    )


def test_experts_over_three_tiers() -> None:
    dgpu, igpu = "gpu:0000:01:00.0", "gpu:0000:c5:00.0"
    plan = plan_of(dgpu, (dgpu, dgpu, igpu, igpu, "cpu", "cpu"))
    argv = command(plan, engine_of("0.5.0", (CUDA, VULKAN))).argv
    assert value(argv, "-dev") == "CUDA0,Vulkan1"
    assert value(argv, "-ts") == "1,0"
    assert value(argv, "-ot") == (rf"blk\.([23])\.{EXPERT_TENSORS}=Vulkan1,blk\.([45])\.{EXPERT_TENSORS}=CPU")


def test_experts_on_the_cpu_need_no_second_device() -> None:
    argv = command(plan_of("gpu:0000:01:00.0", ("cpu",) * 3), engine_of("0.5.0", (CUDA, VULKAN))).argv
    assert value(argv, "-dev") == "CUDA0"
    assert "-ts" not in argv
    assert value(argv, "-ot") == rf"\.{EXPERT_TENSORS}=CPU"


def test_everything_on_one_device_needs_no_override() -> None:
    argv = command(plan_of("gpu:0000:01:00.0", ("gpu:0000:01:00.0",) * 3), engine_of("0.5.0", (CUDA,))).argv
    assert "-ot" not in argv
    assert value(argv, "-ngl") == "999"


def test_cpu_alone_keeps_every_device_out() -> None:
    argv = command(plan_of("cpu", ("cpu",) * 3), engine_of("0.5.0", (CUDA,))).argv
    assert value(argv, "-dev") == "none"
    assert value(argv, "-ngl") == "0"
    assert not {"-ts", "-ot", "--rpc"} & set(argv)


def test_attention_on_the_cpu_with_experts_on_a_device() -> None:
    argv = command(plan_of("cpu", ("gpu:0000:01:00.0",) * 3), engine_of("0.5.0", (CUDA,))).argv
    assert value(argv, "-dev") == "CUDA0"
    assert value(argv, "-ngl") == "0"
    assert value(argv, "-ot").endswith("=CUDA0")


def test_remote_experts_use_the_buffer_type_and_not_the_name() -> None:
    plan = plan_of("remote:10.0.0.1:50052", ("remote:10.0.0.2:50052/1",) * 2)
    argv = command(plan, engine_of("0.5.0", RPC)).argv
    assert value(argv, "-dev") == "RPC0,RPC2"
    assert value(argv, "-ot").endswith("=RPC1[10.0.0.2:50052]")


def test_all_rpc_servers_are_named_since_their_order_numbers_them() -> None:
    plan = plan_of("cpu", ("remote:10.0.0.2:50052",) * 2)
    argv = command(plan, engine_of("0.5.0", RPC)).argv
    assert value(argv, "--rpc") == "10.0.0.1:50052,10.0.0.2:50052"
    assert argv.index("--rpc") < argv.index("-dev")


def test_rpc_servers_that_no_device_of_the_plan_uses_are_left_out() -> None:
    argv = command(plan_of("cpu", ("cpu",)), engine_of("0.5.0", RPC)).argv
    assert "--rpc" not in argv


@pytest.mark.parametrize("version", ["0.1.0", "0.5.0"])
@pytest.mark.parametrize(
    "plan",
    [
        HYBRID,
        plan_of("cpu", ("cpu",)),
        plan_of("remote:10.0.0.1:50052", ("cpu", "remote:10.0.0.2:50052"), load_mode="mmap"),
    ],
    ids=["hybrid", "cpu", "rpc"],
)
def test_every_option_is_one_that_the_version_lists(version: str, plan: Plan) -> None:
    engine = engine_of(version, (CUDA, VULKAN, *RPC))
    emitted = [word for word in command(plan, engine).argv[1:] if re.match(r"--?[a-z]", word)]
    assert len(emitted) >= 15
    assert set(emitted) <= engine.flags


def test_overrides_match_routed_experts_and_nothing_else() -> None:
    argv = command(HYBRID, engine_of("0.5.0", (CUDA, VULKAN))).argv
    pattern = value(argv, "-ot").split("=")[0]
    for name in ("ffn_gate_exps.weight", "ffn_gate_up_exps.weight", "ffn_down_exps.bias", "ffn_up_chexps.weight"):
        assert re.search(pattern, f"blk.12.{name}"), name
    for name in ("ffn_gate_shexp.weight", "ffn_gate_inp.weight", "ffn_down.weight", "attn_q.weight"):
        assert not re.search(pattern, f"blk.12.{name}"), name


def test_layers_are_matched_whole() -> None:
    gpu = "gpu:0000:01:00.0"
    plan = plan_of(gpu, (gpu, "cpu", *[gpu] * 10))
    argv = command(plan, engine_of("0.5.0", (CUDA,))).argv
    pattern = value(argv, "-ot").split("=")[0]
    assert re.search(pattern, "blk.1.ffn_up_exps.weight")
    assert not re.search(pattern, "blk.11.ffn_up_exps.weight")


def test_an_override_holds_no_comma_or_equals_sign_of_its_own() -> None:
    argv = command(plan_of("cpu", ("remote:10.0.0.2:50052",) * 40), engine_of("0.5.0", RPC)).argv
    assert value(argv, "-ot").count("=") == 1
    assert "," not in value(argv, "-ot")


def test_an_engine_without_the_option_is_refused_by_name() -> None:
    engine = engine_of("0.5.0", (CUDA, VULKAN))
    engine = replace(engine, flags=engine.flags - {"-ot"})
    with pytest.raises(NoEngineError, match=r"llama\.cpp 0\.5\.0 at \S+ has no -ot"):
        command(HYBRID, engine)


def test_an_engine_without_the_device_is_refused_by_name() -> None:
    with pytest.raises(NoEngineError, match=r"cannot compute on gpu:0000:c5:00\.0"):
        command(HYBRID, engine_of("0.5.0", (CUDA,)))


def test_options_in_the_environment_and_in_config_files_cannot_interfere() -> None:
    environment = {"LLAMA_ARG_OVERRIDE_TENSOR": "x=CPU", "LLAMA_ARG_N_GPU_LAYERS": "3", "PATH": "/bin"}
    made = command(HYBRID, engine_of("0.5.0", (CUDA, VULKAN)), environment)
    assert made.unset == ("LLAMA_ARG_N_GPU_LAYERS", "LLAMA_ARG_OVERRIDE_TENSOR")
    assert made.env == {"XDG_CONFIG_HOME": "/none"}


def test_the_umbrella_binary_is_told_to_serve() -> None:
    engine = replace(engine_of("0.5.0"), path=Path("/usr/bin/llama"))
    assert command(plan_of("cpu", ("cpu",)), engine).argv[:2] == ("/usr/bin/llama", "serve")


def test_the_url_is_one_that_a_client_can_reach() -> None:
    made = server_command(
        plan_of("cpu", ("cpu",)), engine_of(), port=9001, host="0.0.0.0", config_home=Path("/n"), environment={}
    )
    assert made.url == "http://127.0.0.1:9001"
    assert value(made.argv, "--host") == "0.0.0.0"


def with_parameters(**changes: object) -> Plan:
    plan = plan_of("gpu:0000:01:00.0", ("cpu",) * 3)
    return replace(plan, parameters=replace(plan.parameters, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"no_host": True}, "--no-host"),
        ({"op_offload": False}, "--no-op-offload"),
        ({"numa": "distribute"}, "--numa distribute"),
        ({"cache_ram_bytes": 3 << 30}, "-cram 3072"),
        ({"cache_ram_bytes": 0}, "-cram 0"),
        ({"draft_tokens": 2}, "--spec-type draft-mtp --spec-draft-n-max 2"),
    ],
)
def test_each_choice_is_told_to_the_engine_and_no_other_is(changes: dict[str, object], words: str) -> None:
    engine = engine_of("0.5.0", (CUDA,))
    assert words in " ".join(command(with_parameters(**changes), engine).argv)
    assert words.split()[0] not in command(with_parameters(), engine).argv


def test_unequal_gpus_share_the_layers_by_counts() -> None:
    near, far = "gpu:0000:01:00.0", "gpu:0000:c5:00.0"
    plan = plan_of(near, (near,) * 12 + (far,) * 20)
    attention = plan.placement.experts
    plan = replace(plan, placement=replace(plan.placement, attention=attention, head=far), nextn_layers=1)
    argv = command(plan, engine_of("0.5.0", (CUDA, VULKAN))).argv
    assert value(argv, "-dev") == "CUDA0,Vulkan1"
    assert value(argv, "-ts") == "11.5,22.5"
    assert value(argv, "-ngl") == "34"
    assert "-ot" not in argv


def test_the_first_layers_are_the_hosts_and_the_last_ones_the_gpus() -> None:
    near = "gpu:0000:01:00.0"
    plan = plan_of(near, ("cpu",) * 5 + (near,) * 27)
    plan = replace(plan, placement=replace(plan.placement, attention=plan.placement.experts))
    argv = command(plan, engine_of("0.5.0", (CUDA,))).argv
    assert value(argv, "-ngl") == "28"
    assert "-ts" not in argv
