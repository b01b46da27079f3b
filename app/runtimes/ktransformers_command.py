"""From a plan to KTransformers' arguments: SGLang's server with kt-kernel. Pure.

The names of its options are those of sglang-kt 0.7.2 (`sglang/srt/server_args.py`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from app.runtimes.base import Command, Engine
from app.runtimes.llama_devices import CPU_DEVICE
from app.solver.kt_methods import RELEASE
from app.solver.ktransformers import RUNTIME
from app.solver.plan import Plan

MODEL, WEIGHTS = "MODEL", "WEIGHTS"
"""Stand for the folders of the checkpoint and of the converted experts until they are there."""

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


def ktransformers_command(plan: Plan, engine: Engine, *, port: int, host: str = "127.0.0.1") -> Command:
    """The command that serves `plan` with SGLang and kt-kernel.

    Raises:
        ValueError: the plan is for another runtime.
    """
    kt = plan.parameters.kt
    if kt is None:
        raise ValueError("the plan is not for KTransformers")
    gpu = plan.memory_of(plan.placement.head)
    size = gpu.available_bytes or gpu.total_bytes
    static = (gpu.weight_bytes + gpu.kv_bytes) / size
    weights = WEIGHTS if kt.method.startswith("AMX") else MODEL
    argv = (
        *(str(engine.path), "-m", "sglang.launch_server"),
        *("--host", host, "--port", str(port)),
        *("--model-path", MODEL, "--served-model-name", plan.model_name, "--trust-remote-code"),
        *("--kt-weight-path", weights, "--kt-method", kt.method),
        *("--kt-cpuinfer", str(kt.cpu_threads), "--kt-threadpool-count", str(kt.pools)),
        *("--kt-num-gpu-experts", str(kt.resident_experts)),
        *_prefill_arguments(kt.gpu_prefill_tokens),
        *("--chunked-prefill-size", str(kt.chunked_prefill)),
        *("--context-length", str(plan.workload.context), "--max-total-tokens", str(plan.parameters.context)),
        *("--max-running-requests", str(plan.parameters.parallel)),
        *("--mem-fraction-static", f"{static + 0.005:.2f}"),
        *("--tensor-parallel-size", str(kt.tensor_parallel)),
        *("--attention-backend", "flashinfer", "--enable-mixed-chunk", "--disable-shared-experts-fusion"),
        *(("--fp8-gemm-backend", "triton") if kt.method == "FP8" else ()),
        "--enable-metrics",
    )
    return Command(
        argv=argv,
        env={"PYTORCH_ALLOC_CONF": "expandable_segments:True", "SGLANG_ENABLE_JIT_DEEPGEMM": "0"},
        unset=(),
        url=f"http://{host}:{port}",
    )


def _prefill_arguments(tokens: int) -> tuple[str, ...]:
    return ("--kt-gpu-prefill-token-threshold", str(tokens)) if tokens else ()
