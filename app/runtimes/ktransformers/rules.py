"""From a plan to KTransformers 0.3: its optimize rules, and the command that serves with them. Pure.

Experts are computed by the CPU and everything else by one GPU. Whole layers of experts can be put on the GPU by a
rule before that: then one sequence is served at a time and without CUDA graphs (its `doc/en/multi-gpu-tutorial.md`).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from app.errors import UsageError
from app.runtimes.ktransformers.modules import MODULES, Form, Modules
from app.runtimes.ktransformers.rule import DEFAULT, Arguments, Rule, rules_yaml
from app.solver.kt_memory import expert_on_gpu
from app.solver.kt_methods import METHODS
from app.solver.model import ModelShape
from app.solver.plan import Plan

MARLIN_BYTES = 0.53
"""Bytes of a weight in 4 bits with its scales: the documents have about 6 GB for a layer of R1's experts, 11.3e9
weights."""

GRAPH_SHARE = 0.2
"""Share of the decode time that starting kernels takes without CUDA graphs (SOSP 2025, KTransformers): fewer layers on
the GPU than that do not pay for it."""

CHUNK_TOKENS = 256
"""`--chunk_size`: its own default."""

FOUR_BITS = frozenset({"AMXINT4"})
"""Methods whose plans lose nothing by experts in 4 bits, which is all that 0.3's experts on a GPU can be."""

GGUF, RULES = "GGUF", "rules.yaml"
"""Stand for the folder of the GGUF and the file of the rules."""

BACKENDS = {"AMXINT8": "AMXInt8", "BF16": "AMXBF16"}
"""`--kt-method` -> `backend` of the experts where the processor has AMX; anything else is `llamafile`. Both quantize
a GGUF of BF16 while they load it (`KExpertsCPU.load`)."""

_BOTH: Arguments = {"generate_device": "cuda", "prefill_device": "cuda"}


@dataclass(frozen=True, slots=True)
class OldForm:
    """A plan in the words of KTransformers 0.3."""

    rules: tuple[Rule, ...]
    command: tuple[str, ...]
    weights: str
    """Which GGUF it needs, as a clause."""
    gpu_layers: tuple[int, ...]
    """Layers whose experts the GPU computes."""

    def text(self, about: tuple[str, ...]) -> str:
        """The YAML file, headed by what it is and by the command that uses it."""
        notes = (*about, f"for KTransformers 0.3, with {self.weights}; start:", f"  {shlex.join(self.command)}")
        return rules_yaml(self.rules, notes)


def old_form(plan: Plan, shape: ModelShape, *, amx: bool, port: int, gpu_layers: int | None = None) -> OldForm:
    """The rules and the command of a KTransformers plan.

    Args:
        plan: for KTransformers.
        shape: the model as the file has it.
        amx: whether programs of this user may use AMX there.
        port: where the server is to answer.
        gpu_layers: whole layers of experts for the GPU; `None`: as many as the plan's experts on the GPU leave room
            for, where that pays (`layers_that_pay`).

    Raises:
        UsageError: the plan is for another runtime, or 0.3 has no modules for the model, or not for what is asked.
    """
    kt = plan.parameters.kt
    modules = MODULES.get(shape.architecture)
    if kt is None:
        raise UsageError("Rules of KTransformers are for its plans.", hint="Add --runtime ktransformers.")
    if modules is None or shape.expert_count < modules.fewest_experts:
        raise UsageError(
            f"There are no rules of KTransformers 0.3 for {shape.name} ({shape.architecture}).", hint="Use --as sh."
        )
    routed = [index for index, layer in enumerate(shape.layers) if layer.expert_bytes]
    count = layers_that_pay(plan, shape) if gpu_layers is None else gpu_layers
    if gpu_layers is None and modules.single is None:
        count = 0
    chosen = tuple(routed[:count])
    form = modules.single if chosen else modules.serving
    if form is None:
        raise UsageError(
            f"KTransformers 0.3 has no rules that put whole layers of {modules.architecture} on a GPU.",
            hint="Leave its experts on the CPU.",
        )
    backend = BACKENDS.get(kt.method, "llamafile") if amx else "llamafile"
    weights = "a GGUF of any quantization" if backend == "llamafile" else "a BF16 GGUF, which it quantizes itself"
    rules = tuple(_rules(modules, form, backend, chosen))
    return OldForm(rules, _command(plan, modules, serving=not chosen, port=port), weights, chosen)


def layers_that_pay(plan: Plan, shape: ModelShape) -> int:
    """Whole layers of experts in 4 bits that fit where the plan has its experts on the GPU; 0 where they are too few.

    A server of several sequences keeps its CUDA graphs, and so has none; nor has a plan of more than 4 bits, which
    would lose accuracy by it.
    """
    kt = plan.parameters.kt
    routed = [layer for layer in shape.layers if layer.expert_bytes]
    method = next((one for one in METHODS if kt is not None and one.name == kt.method), None)
    if kt is None or method is None or kt.method not in FOUR_BITS or not routed or plan.parameters.parallel > 1:
        return 0
    room = kt.resident_experts * expert_on_gpu(shape, method) / kt.tensor_parallel
    count = min(len(routed), int(room / (MARLIN_BYTES * max(layer.expert_weights for layer in routed))))
    return count if count > GRAPH_SHARE * len(routed) else 0


def _rules(modules: Modules, form: Form, backend: str, gpu_layers: tuple[int, ...]) -> Iterator[Rule]:
    """In the published order: a linear module inside an expert is never reached, as experts are not descended into."""
    linear = "ktransformers.operators.linear.KTransformersLinear"
    operators: Arguments = {"generate_op": form.head_operator, "prefill_op": "KLinearTorch"}
    layer_operator = modules.linear_operator if form is modules.serving else "KLinearMarlin"
    yield Rule(modules.rotary[1], class_path=modules.rotary[0], arguments=dict(_BOTH))
    yield Rule(linear, name="^lm_head$", class_path="torch.nn.Linear", arguments=_BOTH | operators)
    yield Rule(
        linear,
        name=rf"^model\.layers\.(?!.*{modules.kept}).*$",
        class_path="torch.nn.Linear",
        arguments=_BOTH | operators | {"generate_op": layer_operator},
    )
    yield Rule(form.block, name=r"^model\.layers\..*\.mlp$", class_path=modules.block, arguments=dict(_BOTH))
    if modules.router is not None:
        yield Rule(
            modules.router[1],
            class_path=modules.router[0],
            arguments={"generate_device": "cuda:0", "prefill_device": "cuda:0"},
        )
    if gpu_layers:
        yield _experts_on_gpu(form, gpu_layers)
    yield _experts_on_cpu(form, backend)
    if form.attention:
        latent: Arguments = {"absorb_for_prefill": False} if modules.latent else {}
        yield Rule(form.attention, name=r"^model\.layers\..*\.self_attn$", arguments=_BOTH | latent)
    if form.model:
        yield Rule(form.model, name="^model$", arguments={"per_layer_prefill_intput_threshold": 0})
    yield Rule(DEFAULT, name=r"^model\.embed_tokens", arguments={"generate_device": "cpu", "prefill_device": "cpu"})
    if form.norm:
        yield Rule(form.norm, class_path=modules.norm, arguments=dict(_BOTH))
    if form.dense:
        yield Rule(form.dense, class_path=modules.dense, arguments=dict(_BOTH))


def _experts_on_gpu(form: Form, layers: tuple[int, ...]) -> Rule:
    return Rule(
        form.experts,
        name=rf"^model\.layers\.({'|'.join(map(str, layers))})\.mlp\.experts$",
        arguments={
            "prefill_device": "cuda:0", "prefill_op": "KExpertsTorch",
            "generate_device": "cuda:0", "generate_op": "KExpertsMarlin", "out_device": "cuda:0",
        },
        descends=False,
    )  # fmt: skip


def _experts_on_cpu(form: Form, backend: str) -> Rule:
    return Rule(
        form.experts,
        name=r"^model\.layers\..*\.mlp\.experts$",
        arguments={
            "prefill_device": "cuda", "prefill_op": form.prefill_operator, "generate_device": "cpu",
            "generate_op": "KExpertsCPU", "out_device": "cuda", "backend": backend,
        },
        descends=False,
    )  # fmt: skip


def _command(plan: Plan, modules: Modules, *, serving: bool, port: int) -> tuple[str, ...]:
    """`--cache_lens` has to be more than the sequences times the tokens that each may generate."""
    parameters, kt = plan.parameters, plan.parameters.kt
    assert kt is not None
    sequences = parameters.parallel if serving else 1
    answer = max(1, min(plan.workload.output_tokens, (parameters.context - 1) // sequences))
    return (
        *("python", "ktransformers/server/main.py"),
        *("--host", "127.0.0.1", "--port", str(port), "--architectures", modules.architecture),
        *("--model_path", "MODEL", "--gguf_path", GGUF, "--optimize_config_path", RULES),
        *("--backend_type", "balance_serve" if serving else "ktransformers"),
        *("--cpu_infer", str(kt.cpu_threads), "--chunk_size", str(CHUNK_TOKENS)),
        *("--cache_lens", str(parameters.context), "--max_batch_size", str(sequences)),
        *("--max_new_tokens", str(answer), "--use_cuda_graph" if serving else "--no-use_cuda_graph"),
    )
