"""From a plan to KTransformers' arguments: SGLang's server with kt-kernel.

The names of its options are those of sglang-kt 0.7.2 (`sglang/srt/server_args.py`).
"""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from pathlib import Path

from app.runtimes.base import Command, Engine
from app.runtimes.ktransformers.environment import UNSET, settings
from app.runtimes.llama_devices import CPU_DEVICE
from app.solver.kt_methods import RELEASE
from app.solver.ktransformers import RUNTIME
from app.solver.model import ModelShape
from app.solver.plan import KtParameters, Plan
from detectors.facts import Cpu, Machine

MODEL, WEIGHTS = "MODEL", "WEIGHTS"
"""Stand for the folders of the checkpoint and of the converted experts until they are there."""

PLACEMENT = "uniform"
"""`--kt-expert-placement-strategy`: the same number of experts in every layer, which is what the plan's memory is
reckoned with. `frequency` needs a recording of which experts the work uses."""

OWN_ATTENTION = frozenset({"deepseek32", "glm-dsa", "qwen3next", "qwen35moe"})
"""Architectures with sparse or linear attention: SGLang chooses a backend that has it."""

WATCHDOG_S = 300
"""SGLang ends itself when one batch takes longer (`--watchdog-timeout`)."""

_PACKAGES = ("sglang", "kt_kernel")


def is_installed() -> bool:
    """Whether this Python has SGLang and kt-kernel. Nothing is imported."""
    return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)


def ktransformers_engine() -> Engine:
    """The runtime as it would be, or is, in this Python."""
    installed = is_installed()
    return Engine(
        runtime=RUNTIME,
        path=Path(sys.executable if installed else "python"),
        origin="path" if installed else "assumed",
        version=RELEASE if installed else f"{RELEASE}, not installed here",
        backends=("CPU", "CUDA"),
        devices=(CPU_DEVICE,),
    )


def ktransformers_command(
    plan: Plan,
    engine: Engine,
    *,
    port: int,
    host: str = "127.0.0.1",
    machine: Machine | None = None,
    shape: ModelShape | None = None,
) -> Command:
    """The command that serves `plan` with SGLang and kt-kernel.

    Args:
        plan: for KTransformers.
        engine: the Python that has it.
        port: where it is to answer.
        host: the same.
        machine: where it is to run: its NUMA nodes and cards; `None`: nodes count from 0, and the cards are not known.
        shape: the model; `None`: an ordinary one.

    Raises:
        ValueError: the plan is for another runtime.
    """
    kt = plan.parameters.kt
    if kt is None:
        raise ValueError("the plan is not for KTransformers")
    argv = (
        *(str(engine.path), "-m", "sglang.launch_server"),
        *("--host", host, "--port", str(port)),
        *("--model-path", MODEL, "--served-model-name", plan.model_name, "--trust-remote-code"),
        *_expert_arguments(kt, machine.cpu if machine else None),
        *("--chunked-prefill-size", str(kt.chunked_prefill)),
        *("--context-length", str(plan.workload.context), "--max-total-tokens", str(plan.parameters.context)),
        *("--max-running-requests", str(plan.parameters.parallel)),
        *("--cuda-graph-max-bs", str(plan.parameters.parallel)),
        *("--mem-fraction-static", f"{static_fraction(plan):.2f}"),
        *("--tensor-parallel-size", str(kt.tensor_parallel)),
        *(() if shape is not None and shape.architecture in OWN_ATTENTION else ("--attention-backend", "flashinfer")),
        *("--enable-mixed-chunk", "--disable-shared-experts-fusion"),
        *(("--fp8-gemm-backend", "triton") if kt.method == "FP8" else ()),
        *_watchdog(plan, kt),
        "--enable-metrics",
    )
    env = {setting.name: setting.value for setting in settings(kt, machine)}
    unset = tuple(name for name in UNSET if name in os.environ and name not in env)
    return Command(argv=argv, env=env, unset=unset, url=f"http://{host}:{port}")


def static_fraction(plan: Plan) -> float:
    """`--mem-fraction-static`: weights and KV cache of what the card has free, rounded up to hundredths."""
    gpu = plan.memory_of(plan.placement.head)
    size = gpu.available_bytes or gpu.total_bytes
    return min(0.99, math.ceil(100 * (gpu.weight_bytes + gpu.kv_bytes) / size) / 100)


def pool_nodes(cpu: Cpu | None, pools: int) -> tuple[int, ...]:
    """NUMA nodes that the pools have to be told; empty where they are 0, 1, 2 ... as kt-kernel takes them itself."""
    nodes = tuple(node.id for node in cpu.numa_nodes if node.cpus and node.memory_bytes != 0) if cpu else ()
    chosen = nodes[:pools]
    return chosen if len(chosen) == pools and chosen != tuple(range(pools)) else ()


def _expert_arguments(kt: KtParameters, cpu: Cpu | None) -> tuple[str, ...]:
    """What kt-kernel is told. Experts are re-picked by use only where prompts are computed layer by layer."""
    weights = WEIGHTS if kt.method.startswith("AMX") else MODEL
    nodes = pool_nodes(cpu, kt.pools)
    return (
        *("--kt-weight-path", weights, "--kt-method", kt.method),
        *("--kt-cpuinfer", str(kt.cpu_threads), "--kt-threadpool-count", str(kt.pools)),
        *(("--kt-numa-nodes", *map(str, nodes)) if nodes else ()),
        *("--kt-num-gpu-experts", str(kt.resident_experts)),
        *("--kt-expert-placement-strategy", PLACEMENT),
        *("--kt-max-deferred-experts-per-token", str(kt.deferred_experts)),
        *(("--kt-gpu-prefill-token-threshold", str(kt.gpu_prefill_tokens)) if kt.gpu_prefill_tokens else ()),
        *(("--kt-enable-dynamic-expert-update",) if kt.gpu_prefill_tokens and kt.resident_experts else ()),
    )


def _watchdog(plan: Plan, kt: KtParameters) -> tuple[str, ...]:
    """Leave a chunk of a prompt four times the time that it is predicted to take, where that is more than usual."""
    chunk_s = kt.chunked_prefill / plan.prefill.low if plan.prefill is not None and plan.prefill.low > 0 else 0.0
    return ("--watchdog-timeout", str(math.ceil(4 * chunk_s))) if 4 * chunk_s > WATCHDOG_S else ()
