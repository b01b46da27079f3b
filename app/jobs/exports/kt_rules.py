"""Optimize rules of KTransformers 0.3, for its `--optimize_config_path FILE`; the command is in the file's head."""

from __future__ import annotations

from app.errors import UsageError
from app.jobs.exports.launch import Launch
from app.runtimes.ktransformers.rules import old_form
from app.solver.kt_methods import uses_amx


def kt_rules(launch: Launch) -> str:
    """The YAML file.

    Raises:
        UsageError: the plan is for another runtime, or that release has no modules for the model.
    """
    planned = launch.planned
    if planned is None or launch.runtime != "ktransformers":
        raise UsageError(
            f"Rules of KTransformers are for its plans, and this one is for {launch.runtime}.",
            hint="Add --runtime ktransformers.",
        )
    form = old_form(planned.plan, planned.shape, amx=uses_amx(planned.machine.cpu), port=launch.port)
    count, layers = len(form.gpu_layers), sum(1 for layer in planned.shape.layers if layer.expert_bytes)
    where = f"experts of {layers - count} layers on the CPU"
    if count:
        where += f", those of {count} whole layers on the GPU in 4 bits, without CUDA graphs"
    return form.text((f"{launch.title}: {where}", "the speed of this release is not predicted"))
