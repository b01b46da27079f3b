"""The parameters that are open to choice, and what each of them may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from app.solver.model import KvType, Policy, Workload
from app.solver.plan import Parameters
from detectors.facts import Machine

UBATCHES = (512, 1024, 2048, 4096)
"""512 is llama.cpp's own; beyond 4096 the compute buffers cost more experts than the copies save."""

DEFAULT_BATCH = 2048
"""llama.cpp's own; never below the ubatch."""


def base_parameters(machine: Machine, workload: Workload, policy: Policy, kv_type: KvType) -> Parameters:
    """The parameters before anything is placed: default ubatch, fast physical cores, NUMA by the nodes."""
    cpu = machine.cpu
    cores = max(1, (cpu.physical_cores or cpu.logical_cpus) if cpu else 1)
    ubatch = policy.ubatch or UBATCHES[0]
    return Parameters(
        context=workload.context * workload.parallel,
        parallel=workload.parallel,
        ubatch=ubatch,
        batch=max(DEFAULT_BATCH, ubatch),
        kv_type_k=kv_type,
        kv_type_v=kv_type,
        flash_attention=True,
        load_mode=policy.load_mode or "mmap",
        threads=policy.threads or (cpu.decode_threads if cpu else None) or cores,
        threads_batch=policy.threads or (cpu.prefill_threads if cpu else None) or cores,
    )


def cpu_nodes(machine: Machine) -> int:
    """NUMA nodes that have processors."""
    return sum(1 for node in machine.cpu.numa_nodes if node.cpus) if machine.cpu else 0


def first_variant(machine: Machine, parameters: Parameters, used: Iterable[str], policy: Policy) -> Parameters:
    """The parameters for a placement on these devices, with the default ubatch.

    With a GPU the file is read into memory rather than mapped: pinned pages copy at the link's full speed, and an APU's
    drivers do not take mapped ones. Without one it is mapped, since several programs then share its pages.
    """
    kinds = {machine.device(device_id).kind for device_id in used}
    if policy.load_mode is None and kinds & {"igpu", "dgpu"}:
        parameters = replace(parameters, load_mode="none")
    if "cpu" in kinds and cpu_nodes(machine) > 1:
        parameters = replace(parameters, numa="distribute")
    return parameters


def variants(first: Parameters, mixed: bool, policy: Policy, prompt: int) -> list[Parameters]:
    """Every variant that may be better than the first, which comes first.

    A ubatch beyond the prompt changes nothing. Experts in host memory are copied to the GPU for prompts (the default),
    computed by the CPU where they are, or repacked for its kernels, which rules copying out.

    Args:
        first: the parameters as they are.
        mixed: whether both the host and a GPU of it have a part.
        policy: what the person decided.
        prompt: tokens of the prompt.
    """
    sizes = (first.ubatch,) if policy.ubatch else tuple(n for n in UBATCHES if n == UBATCHES[0] or n // 2 < prompt)
    hosts = [first]
    if mixed and policy.repacks:
        hosts.append(replace(first, op_offload=False))
        if first.load_mode == "none":
            hosts.append(replace(first, no_host=True))
    return [replace(host, ubatch=size, batch=max(DEFAULT_BATCH, size)) for host in hosts for size in sizes]


def kv_types(policy: Policy) -> tuple[KvType, ...]:
    """Types of the cache that may be chosen, the preferred one first: never below q8_0 unasked."""
    return (policy.kv_type,) if policy.kv_type else ("f16", "q8_0")
