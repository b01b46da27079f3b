"""The rules of a plan, applied to module trees as KTransformers 0.3 applies them, select the right modules."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.errors import UsageError
from app.jobs.exports import FORMS, launch_of
from app.jobs.planning import PlanRequest, find_model, make_plan
from app.runtimes.ktransformers.rule import Rule, rules_yaml
from app.runtimes.ktransformers.rules import GRAPH_SHARE, MARLIN_BYTES, OldForm, layers_that_pay, old_form
from app.solver.kt_memory import expert_on_gpu
from app.solver.kt_methods import METHODS
from app.solver.ktransformers import solve_ktransformers
from app.solver.model import ModelShape, Policy, Workload
from app.solver.plan import Plan
from tests.fixtures.synthetic.machines import write
from tests.runtimes.module_trees import Module, deepseek_v3, glm4_moe, qwen3_moe
from tests.solver.kt_machines import server
from tests.solver.machines import scene

OPTIONS = Path(__file__).parent / "options" / "ktransformers-0.3.txt"
XEON = "ubuntu2404-2xxeon6430-rtx4090"
TREES: dict[str, Callable[[], Module]] = {
    "qwen3-30b-a3b": qwen3_moe, "deepseek-v3": deepseek_v3, "glm-4.5-air": glm4_moe,
}  # fmt: skip


@dataclass
class Chosen:
    """What becomes of one module."""

    replacement: str
    arguments: dict[str, Any]

    @property
    def operator(self) -> str:
        return self.replacement.rpartition(".")[2]


def applied(rules: list[dict[str, Any]], module: Module, name: str = "") -> dict[str, Chosen]:
    """Each module that is reached with what the first matching rule makes of it."""
    found = {name: Chosen("default", {"generate_device": "cuda:0", "prefill_device": "cuda:0"})}
    descends = True
    for rule in rules:
        match = rule["match"]
        if "class" in match and match["class"] not in module.classes:
            continue
        if "name" in match and re.search(match["name"], name) is None:
            continue
        found[name] = Chosen(rule["replace"].get("class", "default"), rule["replace"].get("kwargs", {}))
        descends = rule.get("recursive", True)
        break
    if descends:
        for child, inside in module.children.items():
            found |= applied(rules, inside, f"{name}.{child}" if name else child)
    return found


def check_schema(rules: object) -> list[dict[str, Any]]:
    """A list of matches and replacements with nothing else in them."""
    assert isinstance(rules, list)
    for rule in rules:
        assert set(rule) <= {"match", "replace", "recursive"}
        assert rule["match"]
        assert set(rule["match"]) <= {"name", "class"}
        assert set(rule["replace"]) <= {"class", "kwargs"}
        assert isinstance(rule.get("recursive", True), bool)
        re.compile(rule["match"].get("name", ""))
        for key, value in rule["replace"].get("kwargs", {}).items():
            assert isinstance(value, str | bool | int)
            if key.endswith("_device"):
                assert re.fullmatch(r"cpu|cuda(:\d+)?", str(value))
            if key == "backend":
                assert value in ("AMXInt8", "AMXBF16", "llamafile")
    return rules


def shape_of(model: str) -> ModelShape:
    return find_model(model)


def plan_of(shape: ModelShape, method: str | None = None, **facts: int) -> Plan:
    machine = server(**{"ram_gib": 2048, **facts})  # type: ignore[arg-type]
    return solve_ktransformers(scene(machine, shape), Workload(context=8192), Policy(kt_method=method))


def form_of(model: str, *, gpu_layers: int = 0, method: str | None = None, amx: bool = True) -> OldForm:
    shape = shape_of(model)
    return old_form(plan_of(shape, method), shape, amx=amx, port=10002, gpu_layers=gpu_layers)


def chosen_of(model: str, form: OldForm) -> dict[str, Chosen]:
    return applied(check_schema(yaml.safe_load(form.text(("a title",)))), TREES[model]())


@pytest.mark.parametrize("model", TREES)
def test_experts_of_every_layer_are_the_cpus_and_are_not_looked_into(model: str) -> None:
    found = chosen_of(model, form_of(model, method="AMXINT8"))
    experts = {name: one for name, one in found.items() if name.endswith(".mlp.experts")}
    blocks = TREES[model]().children["model"].children["layers"].children.values()
    assert len(experts) == sum("experts" in layer.children["mlp"].children for layer in blocks)
    for one in experts.values():
        assert one.operator in ("KTransformersExpertsV2", "KGlm4Experts")
        assert one.arguments["generate_op"] == "KExpertsCPU"
        assert (one.arguments["generate_device"], one.arguments["out_device"]) == ("cpu", "cuda")
        assert one.arguments["backend"] == "AMXInt8"
    assert not [name for name in found if ".experts." in name], "each expert's matrices stay with the kernel"


@pytest.mark.parametrize("model", TREES)
def test_everything_else_of_a_layer_is_the_gpus(model: str) -> None:
    found = chosen_of(model, form_of(model))
    for name, one in found.items():
        if name.endswith(".mlp.experts"):
            continue
        device = one.arguments.get("generate_device", "cuda")
        assert device == ("cpu" if name == "model.embed_tokens" else device), name
        assert name == "model.embed_tokens" or str(device).startswith("cuda"), name
        if name.endswith(".self_attn"):
            assert one.replacement != "default", name
        if name.endswith(("_proj", "lm_head")) and not name.endswith("kv_b_proj"):
            assert one.operator == "KTransformersLinear", name
        if name.endswith(("norm", "rotary_emb")):
            assert one.replacement != "default", name
        if name.endswith(("shared_experts", ".mlp")):
            assert one.replacement != "default", name


def test_modules_of_deepseek_keep_what_has_to_stay_exact() -> None:
    found = chosen_of("deepseek-v3", form_of("deepseek-v3"))
    assert found["model.layers.3.self_attn.kv_b_proj"].replacement == "default"
    assert found["model.layers.3.mlp.gate"].operator == "KMoEGate"
    assert found["model.layers.0.mlp"].operator == "kDeepseekV3MLP"
    assert found["model.layers.3.mlp"].operator == "KDeepseekV3MoEV2"
    assert found["model.layers.3.self_attn.rotary_emb"].operator == "YarnRotaryEmbeddingV3", "by its base class"
    assert found["model.layers.3.self_attn"].arguments["absorb_for_prefill"] is False


@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "deepseek-v3"])
def test_a_rule_before_that_of_the_cpu_puts_whole_layers_on_the_gpu(model: str) -> None:
    form = form_of(model, gpu_layers=2)
    found = chosen_of(model, form)
    experts = {name: one for name, one in found.items() if name.endswith(".mlp.experts")}
    on_gpu = [name for name, one in experts.items() if one.arguments["generate_op"] == "KExpertsMarlin"]
    assert on_gpu == [f"model.layers.{index}.mlp.experts" for index in form.gpu_layers]
    assert len(form.gpu_layers) == 2
    assert all(one.operator == "KTransformersExperts" for one in experts.values()), "the one that takes such experts"
    assert all(one.arguments["generate_device"] == "cpu" for name, one in experts.items() if name not in on_gpu)
    swapped = sorted(form.rules, key=lambda rule: "KExpertsMarlin" in rule.arguments.values())
    again = applied(yaml.safe_load(rules_yaml(swapped)), TREES[model]())
    assert again[on_gpu[0]].arguments["generate_op"] == "KExpertsCPU", "after it, it would select nothing"


def test_layer_1_is_not_layer_10() -> None:
    form = form_of("qwen3-30b-a3b", gpu_layers=2)
    found = applied(yaml.safe_load(rules_yaml(form.rules)), qwen3_moe(layers=12))
    on_gpu = [n for n, one in found.items() if one.arguments.get("generate_op") == "KExpertsMarlin"]
    assert on_gpu == ["model.layers.0.mlp.experts", "model.layers.1.mlp.experts"]


@pytest.mark.parametrize(
    ("method", "amx", "backend", "weights"),
    [
        ("AMXINT8", True, "AMXInt8", "BF16"), ("BF16", True, "AMXBF16", "BF16"), ("AMXINT8", False, "llamafile", "any"),
        ("BF16", False, "llamafile", "any"), ("FP8", True, "llamafile", "any"), ("AMXINT4", True, "llamafile", "any"),
    ],
)  # fmt: skip
def test_the_backend_is_the_plans_method_as_that_release_has_it(
    method: str, amx: bool, backend: str, weights: str
) -> None:
    form = form_of("qwen3-30b-a3b", method=method, amx=amx)
    [said] = {rule.arguments["backend"] for rule in form.rules if "backend" in rule.arguments}
    assert said == backend
    assert weights in form.weights


def test_the_command_has_only_options_that_the_server_knows() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False, exit_on_error=False)
    types = {"str": str, "int": int}
    for line in OPTIONS.read_text().splitlines():
        if line.startswith("--"):
            option, kind = line.split()
            if kind == "flag":
                parser.add_argument(option, action=argparse.BooleanOptionalAction)
            else:
                parser.add_argument(option, type=types[kind])
    for layers in (0, 2):
        form = form_of("qwen3-30b-a3b", gpu_layers=layers)
        assert form.command[:2] == ("python", "ktransformers/server/main.py")
        told, unknown = parser.parse_known_args(form.command[2:])
        assert unknown == []
        assert told.architectures == "Qwen3MoeForCausalLM"
        assert told.cache_lens > told.max_batch_size * told.max_new_tokens
        assert told.backend_type == ("ktransformers" if layers else "balance_serve")
        assert told.use_cuda_graph is (not layers), "layers on the GPU need them closed"


def test_layers_go_to_the_gpu_where_they_fit_the_plan_and_pay() -> None:
    shape = shape_of("qwen3-30b-a3b")
    plan = plan_of(shape, "AMXINT4", vram_gib=24)
    kt = plan.parameters.kt
    assert kt is not None
    count = layers_that_pay(plan, shape)
    method = next(one for one in METHODS if one.name == kt.method)
    each = MARLIN_BYTES * max(layer.expert_weights for layer in shape.layers)
    assert GRAPH_SHARE * len(shape.layers) < count <= len(shape.layers)
    assert count * each <= kt.resident_experts * expert_on_gpu(shape, method)
    few = replace(plan, parameters=replace(plan.parameters, kt=replace(kt, resident_experts=4)))
    assert layers_that_pay(few, shape) == 0
    exact = replace(plan, parameters=replace(plan.parameters, kt=replace(kt, method="AMXINT8")))
    assert layers_that_pay(exact, shape) == 0, "4 bits would cost it accuracy"
    many_users = replace(plan, parameters=replace(plan.parameters, parallel=4))
    assert layers_that_pay(many_users, shape) == 0


def test_what_that_release_cannot_do_is_refused() -> None:
    shape = shape_of("qwen3-30b-a3b")
    plan = plan_of(shape)
    with pytest.raises(UsageError, match="no rules"):
        old_form(plan, replace(shape, architecture="minimax-m2"), amx=True, port=1)
    with pytest.raises(UsageError, match="no rules"):
        old_form(plan, replace(shape, architecture="deepseek2", expert_count=160), amx=True, port=1)
    with pytest.raises(UsageError, match="whole layers of Glm4Moe"):
        form_of("glm-4.5-air", gpu_layers=1)
    llama = replace(plan, parameters=replace(plan.parameters, kt=None))
    with pytest.raises(UsageError, match="for its plans"):
        old_form(llama, shape, amx=True, port=1)
    with pytest.raises(ValueError, match="by name or by class"):
        Rule("default")


def test_an_export_is_a_file_of_rules_headed_by_its_command(tmp_path: Path, home: Path) -> None:
    xeon = str(write(XEON, tmp_path / "xeon"))
    planned = make_plan(PlanRequest("qwen3-30b-a3b:BF16", capture=xeon, runtimes=("ktransformers",)))
    text = FORMS["kt-0.3-rules"](launch_of(planned, name="qwen3"))
    found = applied(check_schema(yaml.safe_load(text)), qwen3_moe())
    assert found["model.layers.3.mlp.experts"].arguments["generate_op"] == "KExpertsCPU"
    assert "experts of 48 layers on the CPU" in text.splitlines()[0]
    assert "--optimize_config_path rules.yaml" in text
    llama = make_plan(PlanRequest("qwen3-30b-a3b:BF16", capture=xeon, runtimes=("llama.cpp",)))
    with pytest.raises(UsageError, match="Rules of KTransformers"):
        FORMS["kt-0.3-rules"](launch_of(llama, name="qwen3"))
