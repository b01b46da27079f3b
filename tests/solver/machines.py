"""Machines and models for the solver's tests: true figures of hardware that people have."""

from __future__ import annotations

from app.hardware.coefficients import shipped_coefficients
from app.solver.model import LayerShape, ModelShape
from app.solver.scene import Scene
from app.units import GIB, MIB
from detectors.facts import Cpu, Device, Machine, MemoryPool

RAM = MemoryPool("ram", "RAM", 124 * GIB, 118 * GIB)
CPU = Cpu("Ryzen AI Max+ 395", "AMD", "x86_64", 1, 16, 32, ("avx2", "avx512f"))
CPU_DEVICE = Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=112.0, bandwidth_basis="measured")


def strix_halo_with_radeon(*, gtt_gib: int = 112, vram_gib: int = 48) -> Machine:
    """An APU whose GTT may take most of the RAM, and a discrete card."""
    return Machine(
        "halo",
        cpu=CPU,
        pools=(RAM, MemoryPool("vram:a", "VRAM", vram_gib * GIB, vram_gib * GIB - 300 * MIB)),
        devices=(
            CPU_DEVICE,
            Device("gpu:i", "igpu", "Radeon 8060S", "AMD", "ram", limit_bytes=gtt_gib * GIB,
                   bandwidth_gbps=256.0, bandwidth_basis="driver"),
            Device("gpu:a", "dgpu", "Radeon PRO W7900", "AMD", "vram:a", bandwidth_gbps=864.0,
                   bandwidth_basis="driver"),
        ),
    )  # fmt: skip


def desktop(*, vram_gib: int = 24, ram_gib: int = 96) -> Machine:
    """One discrete GPU beside two channels of DDR5."""
    return Machine(
        "desk",
        cpu=Cpu("Ryzen 9 9950X", "AMD", "x86_64", 1, 16, 32),
        pools=(
            MemoryPool("ram", "RAM", ram_gib * GIB, (ram_gib - 6) * GIB),
            MemoryPool("vram:a", "VRAM", vram_gib * GIB, vram_gib * GIB - 400 * MIB),
        ),
        devices=(
            Device("cpu", "cpu", "CPU", "AMD", "ram", bandwidth_gbps=75.0, bandwidth_basis="measured"),
            Device("gpu:a", "dgpu", "RTX 4090", "NVIDIA", "vram:a", bandwidth_gbps=1008.0, bandwidth_basis="driver"),
        ),
    )


def plain(*, ram_gib: int = 24) -> Machine:
    """No GPU at all."""
    return Machine(
        "plain",
        cpu=Cpu("EPYC", "AMD", "x86_64", 1, 2, 2),
        pools=(MemoryPool("ram", "RAM", ram_gib * GIB, ram_gib * GIB - GIB),),
        devices=(Device("cpu", "cpu", "CPU", "AMD", "ram"),),
    )


def gpt_oss_120b() -> ModelShape:
    """36 layers, every second one full; attention 64 x 64 with 8 KV heads; 128 experts of 3 x 2880 x 2880 in MXFP4."""
    width, heads, kv_heads, head = 2880, 64, 8, 64
    attention = round((2 * width * heads * head + 2 * width * kv_heads * head) * 34 / 32)
    experts = round(128 * 3 * width * width * 17 / 32)

    def layer(index: int) -> LayerShape:
        return LayerShape(
            attention, 3 * width * 4, width * 128 * 4, 0, 0, experts,
            kind="full" if index % 2 else "swa", kv_heads=kv_heads, key_length=head, value_length=head,
        )  # fmt: skip

    table = round(201088 * width * 34 / 32)
    layers = tuple(layer(i) for i in range(36))
    size = sum(one.weight_bytes for one in layers) + 2 * table
    return ModelShape(
        "gpt-oss-120b", "gpt-oss", layers, table, table, False, 201088, width, heads, 128, 4, 2880, 128, 131072,
        size, "MXFP4 MoE",
    )  # fmt: skip


def dense(*, layers: int = 32) -> ModelShape:
    """A dense 8B model in Q4."""
    one = LayerShape(24 * MIB, 32 * 1024, 0, 0, 100 * MIB, 0, kv_heads=8, key_length=128, value_length=128)
    table = 300 * MIB
    size = layers * one.weight_bytes + 2 * table
    return ModelShape(
        "dense-8b", "llama", (one,) * layers, table, table, False, 128256, 4096, 32, 0, 0, 0, 0, 8192, size, "Q4_K_M"
    )


def scene(machine: Machine, shape: ModelShape) -> Scene:
    """That model on that machine, with the constants that ship."""
    return Scene(machine, shape, shipped_coefficients())
