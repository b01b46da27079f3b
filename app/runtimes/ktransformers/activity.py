"""A start of KTransformers held against its plan: whether kt-kernel takes part, and as planned. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.finding import Finding, Fix
from app.runtimes.ktransformers.log import KtStart
from app.solver.plan import Plan

_NICE = Fix(
    "docker or podman: start the container with --cap-add SYS_NICE",
    "leave the capability out",
    "numactl --membind=0 true && echo yes",
    reboot=False,
)


def judge_start(start: KtStart, plan: Plan) -> tuple[Finding, ...]:
    """What the server's log says that the plan does not, the worst first.

    A server that never names kt-kernel has ignored its options (issue 2053 of kvcache-ai/ktransformers): without
    `--kt-weight-path`, without a number of experts, or in a build of SGLang that is not sglang-kt.

    Args:
        start: what was read of the log.
        plan: that was started.

    Raises:
        ValueError: the plan is for another runtime.
    """
    if plan.parameters.kt is None:
        raise ValueError("the plan is not for KTransformers")
    return (*_activity(start, plan.parameters.kt.resident_experts), *_binding(start))


def _activity(start: KtStart, planned: int) -> Iterator[Finding]:
    if start.is_inactive:
        yield Finding(
            "kt.inactive",
            "blocks",
            "KTransformers is not active: SGLang runs without it",
            "the server is ready, and its log has no line `KT GPU experts`",
            "Every expert is loaded to the GPU, which runs out of memory with a model that does not fit it, and the "
            "processor does nothing. No option is refused and no error is shown.",
            Fix(
                "pip uninstall sglang && pip install sglang-kt kt-kernel   # the fork, not SGLang itself\n"
                "and give both --kt-weight-path and --kt-num-gpu-experts",
                "install the former release again",
                "grep 'KT GPU experts' LOG",
                reboot=False,
            ),
            1.0,
        )
        return
    others = {layer: count for layer, count in start.gpu_experts.items() if count != planned}
    if others:
        layer, count = next(iter(others.items()))
        yield Finding(
            "kt.experts",
            "costs",
            f"{len(others)} layers have other numbers of experts on the GPU than planned",
            f"layer {layer} has {count} where {planned} were planned; chosen by '{start.strategy}'",
            "The memory and the speed of the plan are those of its own numbers.",
            None,
            0.2,
        )
    elif start.gpu_experts:
        title = f"KTransformers is active: {planned} experts of {len(start.gpu_experts)} layers are on the GPU"
        yield Finding("kt.active", "good", title, f"chosen by '{start.strategy}'", "It is as planned.")


def _binding(start: KtStart) -> Iterator[Finding]:
    if start.missing_nodes:
        nodes = ", ".join(str(node) for node in sorted(start.missing_nodes))
        yield Finding(
            "kt.pools", "costs", f"NUMA node {nodes} is not there", f"the log has `NUMA node {nodes} not found`",
            "Its pool is bound to no node and is slow: --kt-threadpool-count is more than the nodes.", None, 0.4,
        )  # fmt: skip
    if start.unbound:
        yield Finding(
            "kt.binding", "costs", "Memory was not bound to its NUMA nodes", f"set_mempolicy: {start.unbound}",
            "All memory may come from one node, and one socket does the work.", _NICE, 0.4,
        )  # fmt: skip
    if start.crowded_nodes:
        nodes = ", ".join(str(node) for node in sorted(start.crowded_nodes))
        yield Finding(
            "kt.threads", "costs", f"Pools have more threads than cores on NUMA node {nodes}",
            "the log has `Core ... inside NUMA node ... not found`",
            "Such threads are not bound and spin against the others: lower --kt-cpuinfer.", None, 0.5,
        )  # fmt: skip
