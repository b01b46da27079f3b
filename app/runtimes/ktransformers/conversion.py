"""How the weights of a plan come to be: commands as text, for a person to run. Pure.

Source: kvcache-ai/ktransformers, `kt-kernel/scripts` (`convert_cpu_weights.py`, `convert_gpu_weights.py` and their
README); they are in its source only, not in the wheels.
"""

from __future__ import annotations

import shlex

from app.runtimes.ktransformers.command import MODEL, WEIGHTS
from app.solver.plan import Plan

SOURCE = "https://github.com/kvcache-ai/ktransformers"
"""Where the scripts are."""

CHECKPOINT = "CHECKPOINT"
"""Stands for the folder of the BF16 checkpoint that was downloaded."""

_SCRIPTS = "ktransformers/kt-kernel/scripts"
_QUANTIZED = {"AMXINT4": "int4", "AMXINT8": "int8"}


def conversion_commands(plan: Plan) -> tuple[str, ...]:
    """Commands that make the plan's weights, in their order; empty where the checkpoint is used as it is.

    The converted experts hold a piece for each pool, so the number of pools is part of the files.
    """
    kt = plan.parameters.kt
    method = _QUANTIZED.get(kt.method) if kt is not None else None
    if kt is None or method is None:
        return ()
    experts = (
        *("python", f"{_SCRIPTS}/convert_cpu_weights.py"),
        *("--input-path", CHECKPOINT, "--input-type", "bf16", "--output", WEIGHTS),
        *("--quant-method", method, "--cpuinfer-threads", str(kt.cpu_threads), "--threadpool-count", str(kt.pools)),
    )
    rest = (
        *("python", f"{_SCRIPTS}/convert_gpu_weights.py"),
        *("--model_id", CHECKPOINT, "--output_dir", MODEL, "--quant_type", "W8A16"),
    )
    return f"git clone --depth 1 {SOURCE}", shlex.join(experts), shlex.join(rest)


def conversion_notes(plan: Plan) -> tuple[str, ...]:
    """The same with what to beware of, one sentence each; empty where nothing has to be converted."""
    commands = conversion_commands(plan)
    if not commands:
        return ()
    return (
        f"Convert the checkpoint once: {' ; '.join(commands)}",
        "Converting the experts takes memory for the whole model and scratch in /dev/shm; --no-merge-safetensor needs"
        " less, --resume-layer N goes on where it broke off.",
    )
