"""How fast devices multiply and how fast weights come over the link: rated figures, or what is guessed without them."""

from __future__ import annotations

from typing import Literal

from app.solver.plan import Parameters
from app.solver.scene import Engine, Scene
from detectors.facts import Basis, Cpu, Device, Machine

GpuFamily = Literal["cuda", "hip", "vulkan"]
"""Whose matrix kernels compute: constants differ by these."""

_FAMILIES: dict[str, GpuFamily] = {
    "cuda": "cuda", "rocm": "hip", "vulkan": "vulkan", "sycl": "vulkan", "metal": "vulkan",
}  # fmt: skip

UNKNOWN_DISCRETE_TFLOPS = 40.0
"""Dense FP16 of a card of which nothing is known: between an RTX 3060 (26) and an RX 7800 XT (75). judgement."""

UNKNOWN_INTEGRATED_TFLOPS = 9.0
"""The same of an integrated GPU: between a Radeon 680M (7) and a 780M (17). judgement."""

UNKNOWN_LINK_GBPS = 25.0
"""A card's link of which nothing is known: PCIe 4.0 x16 as copies see it. judgement."""

LINK_SHARE = 0.8
"""What a copy gets of a PCIe link's bandwidth after encoding: 25 of 31.5 on 4.0 x16, 50 of 63 on 5.0 x16."""

AVX512_AMD_THREAD_TFLOPS = 0.18
AVX512_INTEL_THREAD_TFLOPS = 0.085
AVX2_THREAD_TFLOPS = 0.13
"""One thread on a core of its own, quantized weights, kernels that interleave rows (repacked, or ik_llama.cpp's)."""

PLAIN_KERNEL_SHARE = 0.3
"""What llama.cpp's kernels for weights in their plain layout reach of that."""


def gpu_family(device: Device, engine: Engine) -> GpuFamily:
    """The family of matrix kernels: what the engine computes with, else what the maker's own backend is."""
    if engine.backend in _FAMILIES:
        return _FAMILIES[engine.backend]
    vendor = device.vendor.upper()
    return "cuda" if vendor.startswith("NVIDIA") else "hip" if vendor.startswith(("AMD", "ADVANCED")) else "vulkan"


def gpu_tflops(device: Device) -> tuple[float, Basis]:
    """Dense FP16 TFLOP/s of a GPU, and how it is known."""
    if device.fp16_tflops:
        return device.fp16_tflops, "table"
    return (UNKNOWN_INTEGRATED_TFLOPS if device.kind == "igpu" else UNKNOWN_DISCRETE_TFLOPS), "estimated"


def cpu_tflops(cpu: Cpu | None, parameters: Parameters, engine: Engine) -> float:
    """TFLOP/s of the threads that compute a prompt."""
    per_thread = AVX2_THREAD_TFLOPS
    if cpu is not None and "avx512f" in cpu.isa:
        per_thread = AVX512_AMD_THREAD_TFLOPS if "AMD" in cpu.vendor.upper() else AVX512_INTEL_THREAD_TFLOPS
    interleaved = engine.runtime == "ik_llama.cpp" or parameters.no_host or parameters.kt is not None
    threads = parameters.kt.cpu_threads if parameters.kt is not None else parameters.threads_batch
    return per_thread * max(1, threads) * (1.0 if interleaved else PLAIN_KERNEL_SHARE)


def link_gbps(machine: Machine, one_id: str, other_id: str) -> tuple[float, Basis]:
    """GB/s that a copy between two devices gets, and how it is known."""
    link = machine.link(one_id, other_id)
    if link is None or not link.bandwidth_gbps:
        return UNKNOWN_LINK_GBPS, "estimated"
    return link.bandwidth_gbps * (1.0 if link.basis == "measured" else LINK_SHARE), link.basis


def streaming_device(scene: Scene, attention_ids: tuple[str, ...]) -> Device | None:
    """The GPU that computes large batches of weights in host memory: the first in the order of `-dev`."""
    for device_id in attention_ids:
        device = scene.machine.device(device_id)
        if device.kind in ("dgpu", "igpu"):
            return device
    return None
