"""Servers that KTransformers is planned for."""

from __future__ import annotations

from app.units import GIB, MIB
from detectors.facts import Cpu, Device, Machine, MemoryPool, NumaNode

XEON = ("avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
ZEN4 = XEON[:5]


def server(
    *, isa: tuple[str, ...] = XEON, nodes: int = 2, ram_gib: int = 512, gpus: int = 1, vram_gib: int = 24
) -> Machine:
    """A server with so many NUMA nodes and equal cards."""
    cpu = Cpu(
        "Xeon", "GenuineIntel", "x86_64", nodes, 32 * nodes, 64 * nodes, isa,
        numa_nodes=tuple(NumaNode(i, (i,), ram_gib * GIB // nodes) for i in range(nodes)),
        decode_threads=32 * nodes,
    )  # fmt: skip
    cards = tuple(
        Device(f"gpu:{i}", "dgpu", "RTX 4090", "NVIDIA", f"vram:{i}", arch="sm_89", bandwidth_gbps=1008.0)
        for i in range(gpus)
    )
    pools = (
        MemoryPool("ram", "RAM", ram_gib * GIB, ram_gib * GIB - 8 * GIB),
        *(MemoryPool(f"vram:{i}", "VRAM", vram_gib * GIB, vram_gib * GIB - 400 * MIB) for i in range(gpus)),
    )
    host = Device("cpu", "cpu", "CPU", "Intel", "ram", bandwidth_gbps=280.0 * nodes, bandwidth_basis="driver")
    return Machine("server", cpu=cpu, pools=pools, devices=(host, *cards))
