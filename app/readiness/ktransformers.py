"""What KTransformers needs of the machine beyond what every engine needs. Said for its plans only.

Sources: kt-kernel 0.7.2 (`_cpu_detect.py`, `operators/amx/la/amx_config.hpp`, `worker_pool.cpp`), runs of it, and its
issues 320 (AMX not granted: SIGILL), 350 (containers: one socket used), 432 (too many threads), 2053 (not active).
"""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case, Check
from app.readiness.finding import Finding, Fix
from app.solver.kt_methods import FP8_CUDA, METHODS, OLDEST_CUDA, cpu_variant, cuda_capability, missing_isa, uses_amx
from app.solver.plan import KtParameters
from app.units import bytes_text
from detectors.facts import NumaNode

_NICE = Fix(
    "docker or podman: start the container with --cap-add SYS_NICE\n"
    "Kubernetes: securityContext.capabilities.add: [SYS_NICE]",
    "leave the capability out",
    "numactl --membind=0 true && echo yes",
    reboot=False,
)


def check_variant(case: Case) -> Iterator[Finding]:
    """Which of its builds kt-kernel takes by the processor's flags, and whether that one runs."""
    kt, cpu = _parameters(case), case.cpu
    if kt is None or cpu is None:
        return
    method = next((one for one in METHODS if one.name == kt.method), None)
    variant = cpu_variant(cpu)
    evidence = f"{cpu.model}: {' '.join(cpu.isa) or 'none of the instruction sets'}"
    lacking = missing_isa(method, cpu) if method is not None else ()
    if lacking:
        title = f"{kt.method} needs instructions that the processor lacks"
        reason = "The server ends with an illegal instruction, or refuses the method."
        yield Finding("kt.method", "blocks", title, f"no {', '.join(lacking)}; {evidence}", reason, None, 1.0)
    elif variant == "amx" and not uses_amx(cpu):
        fix = Fix(
            "export KT_KERNEL_CPU_VARIANT=avx512_bf16", "unset KT_KERNEL_CPU_VARIANT",
            "echo $KT_KERNEL_CPU_VARIANT", reboot=False,
        )  # fmt: skip
        yield Finding(
            "kt.variant",
            "costs",
            "kt-kernel would take its AMX build, and programs of this user are refused AMX",
            f"{evidence}; {cpu.amx.why if cpu.amx else ''}".rstrip("; "),
            "It goes by the flags alone and ends with an illegal instruction at the first prompt. moetune's command "
            "names the AVX-512 build; another start has to.",
            fix,
            0.5,
        )
    else:
        reason = "It is chosen by the first processor's flags; whether it computes is shown by `moetune calibrate`."
        yield Finding("kt.variant", "good", f"kt-kernel takes its build for {variant}", evidence, reason)


def check_cards(case: Case) -> Iterator[Finding]:
    """NVIDIA from Ampere on, and from Ada on for FP8."""
    kt = _parameters(case)
    if kt is None or case.plan is None:
        return
    held = {memory.device_id for memory in case.plan.memory}
    for card in (device for device in case.machine.devices if device.id in held and device.id != "cpu"):
        capability = cuda_capability(card)
        least = FP8_CUDA if kt.method == "FP8" else OLDEST_CUDA
        evidence = f"{card.label}: {card.arch or 'its architecture is not known'}"
        if not card.vendor.upper().startswith("NVIDIA"):
            yield Finding("kt.gpu", "blocks", f"{card.label} is no NVIDIA card", evidence, "KTransformers needs CUDA.",
                          None, 1.0)  # fmt: skip
        elif not capability:
            reason = "SGLang's kernels are built for compute capability 8.0 and above."
            yield Finding("kt.gpu", "unknown", f"What {card.label} can compute is not known", evidence, reason)
        elif capability < least:
            title = f"{card.label} is too old for {kt.method}"
            reason = f"It has compute capability {capability / 10:.1f}; {least / 10:.1f} is needed."
            yield Finding("kt.gpu", "blocks", title, evidence, reason, None, 1.0)
        else:
            reason = "SGLang has kernels for it."
            yield Finding("kt.gpu", "good", f"{card.label} can do its part of {kt.method}", evidence, reason)


def check_memory(case: Case) -> Iterator[Finding]:
    """All experts are in host memory, those of the GPU too, each pool's share on its own node."""
    kt = _parameters(case)
    needed, there = case.host_bytes, case.memory_bytes
    if kt is None or not needed or there is None:
        return
    evidence = f"{bytes_text(needed)} of {bytes_text(there)}, in {kt.pools} pool{'s' if kt.pools > 1 else ''}"
    reason = (
        "The experts that the GPU computes are in host memory too, and every pool has buffers for a chunk of "
        f"{kt.chunked_prefill} prompt tokens."
    )
    share = needed // kt.pools
    small = [node for node in _nodes(case)[: kt.pools] if kt.pools > 1 and (node.memory_bytes or 0) < share]
    if needed > there:
        title = f"The plan needs {bytes_text(needed - there)} more memory than there is"
        yield Finding("kt.memory", "blocks", title, evidence, reason, None, 1.0)
    elif small:
        title = f"NUMA node {small[0].id} is too small for its pool"
        sizes = f"{bytes_text(share)} a pool, {bytes_text(small[0].memory_bytes)} in node {small[0].id}"
        yield Finding("kt.memory", "costs", title, f"{evidence}; {sizes}", reason, None, 0.4)
    else:
        yield Finding("kt.memory", "good", "The host's memory holds all experts", evidence, reason)


def check_pools(case: Case) -> Iterator[Finding]:
    """One pool for each node with memory and cores, and no more threads in it than the node has cores."""
    kt, cpu, nodes = _parameters(case), case.cpu, _nodes(case)
    if kt is None or cpu is None or not nodes:
        return
    cores = min(_cores(node, cpu.smt is not False, cpu.logical_cpus, cpu.physical_cores) for node in nodes)
    threads = -(-kt.cpu_threads // kt.pools)
    evidence = f"{kt.pools} pools of {threads} threads; {len(nodes)} nodes of {cores} cores or more"
    if kt.pools > len(nodes):
        title = f"{kt.pools} pools are more than the {len(nodes)} NUMA nodes"
        reason = "Pools without a node of their own are not bound to one: they compute, slowly."
        yield Finding("kt.pools", "costs", title, evidence, reason, None, 0.4)
    elif threads > cores:
        title = f"{threads} threads a pool are more than a node's {cores} cores"
        reason = "Threads beyond a node's cores are not bound and spin against the others: 126 in place of 65 ran at "
        reason += "0.5 in place of 13 tokens per second (its issue 432)."
        yield Finding("kt.pools", "costs", title, evidence, reason, None, 0.9)
    elif kt.pools < len(nodes):
        title = f"{len(nodes) - kt.pools} of {len(nodes)} NUMA nodes are not used"
        reason = "The experts' width cannot be shared by one pool for each node; the memory of the others is read less."
        yield Finding("kt.pools", "note", title, evidence, reason)
    else:
        reason = "Each node's cores read their own memory."
        yield Finding("kt.pools", "good", "There is a pool for each NUMA node", evidence, reason)


def check_binding(case: Case) -> Iterator[Finding]:
    """Containers may not bind memory to nodes unless they are given the capability."""
    kt = _parameters(case)
    if kt is None or case.container is None or case.wsl or len(_nodes(case)) < 2:
        return
    yield Finding(
        "kt.binding",
        "unknown",
        "Whether this container may bind memory to NUMA nodes is not known",
        f"container: {case.container}; {len(_nodes(case))} nodes; the capability SYS_NICE is not read",
        "Without it set_mempolicy is refused, all memory comes from one node, and one socket does the work. The "
        "server's log then has `set_mempolicy: Operation not permitted`.",
        _NICE,
    )


CHECKS: tuple[Check, ...] = (check_variant, check_cards, check_memory, check_pools, check_binding)


def _parameters(case: Case) -> KtParameters | None:
    return case.plan.parameters.kt if case.plan is not None else None


def _nodes(case: Case) -> tuple[NumaNode, ...]:
    nodes = case.cpu.numa_nodes if case.cpu is not None else ()
    return tuple(node for node in nodes if node.cpus and node.memory_bytes != 0)


def _cores(node: NumaNode, smt: bool, logical: int, physical: int | None) -> int:
    """Of one node; its CPUs divided by the threads that a core runs."""
    threads = round(logical / physical) if smt and physical else 1
    return max(1, len(node.cpus) // max(1, threads))
