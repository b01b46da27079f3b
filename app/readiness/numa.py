"""Memory that is near to some cores and far from others."""

from __future__ import annotations

from collections.abc import Iterator

from app.readiness.case import Case
from app.readiness.finding import Finding
from app.readiness.sysctl import sysctl_fix
from app.units import bytes_text
from detectors.facts import NumaNode


def check_numa(case: Case) -> Iterator[Finding]:
    """Automatic balancing, and a model that is spread over nodes."""
    cpu, kernel = case.cpu, case.kernel
    if cpu is None or not case.uses("cpu"):
        return
    nodes = [node for node in cpu.numa_nodes if node.cpus and node.memory_bytes]
    if len(nodes) < 2:
        return
    balancing = kernel.numa_balancing if kernel is not None else None
    evidence = f"{len(nodes)} nodes with CPUs and memory; kernel.numa_balancing is {balancing}"
    reason = "The kernel moves pages of the model to and fro while it is read; llama.cpp itself warns of it."
    if balancing is None:
        why = f"{len(nodes)} nodes; {case.why_unknown('kernel')}"
        yield Finding("numa.balancing", "unknown", "Whether pages are moved between nodes is not known", why, reason)
    elif balancing:
        fix = sysctl_fix("kernel.numa_balancing", 0, balancing)
        yield Finding("numa.balancing", "costs", "The kernel moves memory between nodes", evidence, reason, fix, 0.1)
    else:
        yield Finding("numa.balancing", "good", "The kernel leaves memory where it is", evidence, reason)
    yield _spread(case, nodes)


def _range(sizes: list[int]) -> str:
    least, most = bytes_text(min(sizes)), bytes_text(max(sizes))
    return least if least == most else f"{least} to {most}"


def _spread(case: Case, nodes: list[NumaNode]) -> Finding:
    cpu = case.cpu
    sockets = cpu.sockets if cpu else None
    sizes = [node.memory_bytes or 0 for node in nodes]
    per_socket = cpu.nodes_per_socket if cpu else None
    split = f" ({per_socket} nodes in each processor: SNC or NPS)" if per_socket and per_socket > 1 else ""
    evidence = f"{sockets or '?'} socket{'' if sockets == 1 else 's'}, {len(nodes)} nodes of {_range(sizes)}{split}"
    fits = case.plan is not None and case.host_bytes <= max(sizes)
    held = f"The plan's {bytes_text(case.host_bytes)} fit in one node: " if fits else ""
    return Finding(
        "numa.nodes",
        "note",
        f"The memory is in {len(nodes)} parts, each near to some of the cores only",
        evidence,
        f"{held}start the engine with numactl --cpunodebind=0 --membind=0 where the model fits in one node, else "
        "with --numa distribute after dropping the page cache. A Xeon 6980P read 555 GB/s of its own node's memory and "
        "248 GB/s of the other's (published measurement).",
    )
