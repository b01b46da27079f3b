"""How fast devices multiply and how fast weights come over the link: rated figures, or what is guessed without them."""

from __future__ import annotations

from typing import Literal

from app.solver.plan import Parameters
from app.solver.scene import Engine
from detectors.facts import Basis, Cpu, Device, Machine

GpuFamily = Literal["cuda", "hip", "vulkan", "amdvlk"]
"""Whose matrix kernels compute: constants differ by these. AMDVLK is AMD's other Vulkan driver, which ended in 2025."""

_FAMILIES: dict[str, GpuFamily] = {
    "cuda": "cuda", "rocm": "hip", "hip": "hip", "vulkan": "vulkan", "sycl": "vulkan", "metal": "vulkan",
}  # fmt: skip
"""By backend. SYCL and Metal have no rows to fit to: they are taken as Vulkan."""

UNKNOWN_DISCRETE_TFLOPS = 40.0
"""Dense FP16 of a card of which nothing is known: between an RTX 3060 (26) and an RX 7800 XT (75). judgement."""

UNKNOWN_INTEGRATED_TFLOPS = 9.0
"""The same of an integrated GPU: between a Radeon 680M (7) and a 780M (17). judgement."""

WORKSTATION_SHARE = 0.5
"""NVIDIA's cards other than GeForce accumulate FP16 in FP32 at the full rate, GeForce at half of it, and so are rated
at twice as much for the same silicon. Quantized weights are multiplied in INT8, where both are alike."""

UNKNOWN_LINK_GBPS = 20.0
"""What copies get of a card's link of which nothing is known: PCIe 4.0 x16 gives 25, 3.0 x16 or x8 12. judgement."""

LINK_SHARE = 0.8
"""What a copy gets of a PCIe link's bandwidth after encoding: 25 of 31.5 on 4.0 x16, 50 of 63 on 5.0 x16."""

ZEN_5_THREAD_TFLOPS = 0.26
ZEN_4_THREAD_TFLOPS = 0.18
AVX512_INTEL_THREAD_TFLOPS = 0.085
AVX2_THREAD_TFLOPS = 0.12
OLD_THREAD_TFLOPS = 0.04
"""One thread on a core of its own, quantized weights, kernels that interleave rows (repacked, or ik_llama.cpp's).
fit-2026-11, rounded: 0.16 to 0.22 on Zen 4, 0.23 to 0.28 on Zen 5 (its AVX-512 is twice as wide), 0.10 to 0.17 on
Zen 2 and 3, 0.07 to 0.09 on Xeons of 52 to 128 cores; without AVX2: judgement."""

PLAIN_KERNEL_SHARE = 0.3
"""What llama.cpp's kernels for weights in their plain layout reach of that: 142 to 474 t/s on one Ryzen 9 7950X."""

ZEN_5_FAMILY = 26


def gpu_family(device: Device, engine: Engine) -> GpuFamily:
    """The family of matrix kernels: what the engine computes with, else what the maker's own backend is."""
    if engine.driver == "amdvlk":
        return "amdvlk"
    if engine.backend in _FAMILIES:
        return _FAMILIES[engine.backend]
    vendor = device.vendor.upper()
    return "cuda" if vendor.startswith("NVIDIA") else "hip" if vendor.startswith(("AMD", "ADVANCED")) else "vulkan"


def gpu_tflops(device: Device) -> tuple[float, Basis]:
    """TFLOP/s of a GPU's matrix units, of the kind that multiply quantized weights, and how it is known."""
    if not device.fp16_tflops:
        return (UNKNOWN_INTEGRATED_TFLOPS if device.kind == "igpu" else UNKNOWN_DISCRETE_TFLOPS), "estimated"
    workstation = device.vendor.upper().startswith("NVIDIA") and "geforce" not in device.name.lower()
    return device.fp16_tflops * (WORKSTATION_SHARE if workstation else 1.0), "table"


def cpu_tflops(cpu: Cpu | None, parameters: Parameters, engine: Engine) -> float:
    """TFLOP/s of the threads that compute a prompt."""
    kt = parameters.kt
    threads = kt.cpu_threads if kt is not None else parameters.threads_batch
    if cpu is not None and cpu.physical_cores:
        threads = min(threads, cpu.physical_cores)
    interleaved = engine.runtime == "ik_llama.cpp" or parameters.no_host or kt is not None
    return max(1, threads) * _thread_tflops(cpu) * (1.0 if interleaved else PLAIN_KERNEL_SHARE)


def _thread_tflops(cpu: Cpu | None) -> float:
    if cpu is None or not cpu.isa:
        return AVX2_THREAD_TFLOPS
    if "avx512f" in cpu.isa:
        if "AMD" not in cpu.vendor.upper():
            return AVX512_INTEL_THREAD_TFLOPS
        return ZEN_5_THREAD_TFLOPS if cpu.family == ZEN_5_FAMILY else ZEN_4_THREAD_TFLOPS
    return AVX2_THREAD_TFLOPS if "avx2" in cpu.isa else OLD_THREAD_TFLOPS


def link_gbps(machine: Machine, one_id: str, other_id: str) -> tuple[float, Basis]:
    """GB/s that a copy between two devices gets, and how it is known."""
    link = machine.link(one_id, other_id)
    if link is None or not link.bandwidth_gbps:
        return UNKNOWN_LINK_GBPS, "estimated"
    return link.bandwidth_gbps * (1.0 if link.basis == "measured" else LINK_SHARE), link.basis
