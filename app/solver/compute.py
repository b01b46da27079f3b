"""How fast devices multiply and how fast weights come over the link: rated figures, or what is guessed without them."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from app.solver import constants as k
from app.solver.plan import Parameters
from app.solver.scene import Engine, Scene
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

PAGEABLE_SHARE = 0.22
"""What a copy from mapped (pageable) memory gets at most, of the memory's bandwidth: the driver copies it once more on
the host, so that every byte is read twice and written once. fit-2026-11: 13 GB/s on two channels of a Ryzen 9 7950X,
17 to 19 on those of a Core Ultra 9 where pinned memory gave 42; all of PCIe 4.0 x16 on eight channels."""

_THREAD_TFLOPS: tuple[tuple[str, str, float], ...] = (
    ("AMD", "avx512f avx_vnni", 0.24),
    ("AMD", "avx512f", 0.20),
    ("AMD", "avx2", 0.12),
    ("", "avx512_vnni", 0.085),
    ("", "avx512f", 0.04),
    ("", "avx_vnni", 0.12),
    ("", "avx2", 0.05),
    ("", "i8mm", 0.10),
    ("", "asimddp", 0.06),
    ("", "", 0.03),
)
"""Vendor, instruction sets, and what one thread on a core of its own multiplies, in TFLOP/s, with quantized weights and
kernels that interleave rows (repacked, or ik_llama.cpp's); the first that fits counts. fit-2026-11, rounded: 0.23 to
0.28 on Zen 5, whose AVX-512 is twice as wide as Zen 4's with 0.16 to 0.24; 0.10 to 0.17 on Zen 2 and 3; 0.07 to 0.09 on
Xeons of 52 to 128 cores with VNNI, 0.02 to 0.03 on two sockets without. Other rows: judgement."""

UNKNOWN_THREAD_TFLOPS = 0.12
"""The same of a processor of which nothing is known: it has AVX2. judgement."""

AMX_THREAD_TFLOPS = 0.3
"""The same with AMX kernels: KTransformers' own figure is 21 TFLOPS of a socket of 32 to 36 cores at many tokens for
each expert; its published prompts reach half of that."""

AMX_LLAMA_TFLOPS = 0.15
"""The same with llama.cpp's own AMX layouts, where its CPU may choose them: half of KTransformers'. judgement."""

SOCKETS_SHARE = 0.6
"""What two sockets reach of the sum of their cores without NUMA care, as weights and activations are on either.
fit-2026-11, two machines: 0.45 to 0.75."""

TRELLIS_SHARE = 0.6
"""What the CPU reaches with ik_llama.cpp's trellis types, whose weights it computes first. fit-2026-11: IQ3_KT on a
Threadripper PRO 7965WX beside IQ3_KS."""

MXFP4_SHARE = 0.6
"""Time of multiplying experts in MXFP4 over the same in other types, whose scales are more work to unpack.
fit-2026-11: gpt-oss on Strix Halo, 0.5 to 0.7 with any backend."""

INTEL_SHARE = 0.5
"""What Vulkan reaches on Intel's cards over AMD's, of the rated figure. fit-2026-11, one card: 0.3 to 0.8 on an Arc
Pro B70."""

BF16_VULKAN_SHARE = 0.4
"""What Vulkan reaches on AMD's GPUs with dense weights in BF16, for which it has no matrix instructions. fit-2026-11:
Gemma 4 31B and Ministral 3 14B on Strix Halo, 0.32 and 0.45. BF16 experts are a defect of their own."""

AMDVLK_HEAD = 256
AMDVLK_WIDE_SHARE = 0.22
"""AMDVLK has no fast attention for heads beyond 256 elements. fit-2026-11: Gemma 4 on Strix Halo."""

CUDA_REFERENCE_TFLOPS = 75.0
CUDA_EXPONENT = 0.5
"""Experts' small products and attention gain less on a fast NVIDIA card than its rating says: the square root of it,
about an RTX 3090 or A6000 (71 and 77 TFLOPS). fit-2026-11: leaving machines out, 0.3 to 0.6 predict best, 1 worst
(19 instead of 17 % on hybrids, 46 instead of 21 % with all on GPUs)."""

SHARED_LINKS = 0.5
"""Exponent of the number of cards that share the layers (KTransformers), as they share the host's memory and root
ports: published prompts are 1.6, 2.3 and 2.4 times as fast with 2, 4 and 8 cards."""

PLAIN_KERNEL_SHARE = 0.3
"""What llama.cpp's kernels for weights in their plain layout reach of that: 142 to 474 t/s on one Ryzen 9 7950X."""


def gpu_family(device: Device, engine: Engine) -> GpuFamily:
    """The family of matrix kernels: what the engine computes with, else what the maker's own backend is.

    On NVIDIA's cards Vulkan has the matrix units' own instructions (cooperative matrices 2) and is as fast as CUDA:
    llama 3B, 20,300 t/s on an RTX 4090 (geerlingguy/ai-benchmarks).
    """
    if device.vendor.upper().startswith("NVIDIA"):
        return "cuda"
    if engine.driver == "amdvlk":
        return "amdvlk"
    if engine.backend in _FAMILIES:
        return _FAMILIES[engine.backend]
    vendor = device.vendor.upper()
    return "hip" if vendor.startswith(("AMD", "ADVANCED")) else "vulkan"


def gpu_tflops(device: Device) -> tuple[float, Basis]:
    """TFLOP/s of a GPU's matrix units, of the kind that multiply quantized weights, and how it is known."""
    if not device.fp16_tflops:
        return (UNKNOWN_INTEGRATED_TFLOPS if device.kind == "igpu" else UNKNOWN_DISCRETE_TFLOPS), "estimated"
    workstation = device.vendor.upper().startswith("NVIDIA") and "geforce" not in device.name.lower()
    return device.fp16_tflops * (WORKSTATION_SHARE if workstation else 1.0), "table"


class Multiplier(NamedTuple):
    """What multiplies weights on a GPU, and how fast."""

    family: GpuFamily
    tflops: float
    cards: int = 1
    """That share each layer (KTransformers)."""
    one_by_one: bool = False
    """Every expert's product is a call of its own, not one call for all of a layer."""


def gpu_multiplier(scene: Scene, parameters: Parameters, device: Device, *, experts: bool) -> Multiplier:
    """What multiplies weights of the model on that GPU."""
    shape, family = scene.shape, gpu_family(device, scene.engine)
    rate, cards = gpu_tflops(device)[0], parameters.kt.tensor_parallel if parameters.kt is not None else 1
    if device.vendor.upper().startswith("INTEL"):
        rate *= INTEL_SHARE
    if experts:
        rate = _of_small_products(rate, family)
        if shape.architecture == "gpt-oss" or "MXFP4" in shape.quantization.upper():
            rate /= MXFP4_SHARE
    elif family in ("vulkan", "amdvlk") and not shape.is_moe and "BF16" in shape.quantization.upper():
        rate *= BF16_VULKAN_SHARE
    one_by_one = scene.engine.runtime == "ik_llama.cpp"
    return Multiplier(family, rate * math.pow(cards, SHARED_LINKS), cards, one_by_one)


def rated_tflops(scene: Scene, parameters: Parameters, device: Device, part: str) -> tuple[float, Basis]:
    """TFLOP/s of a GPU that a cost's quantity is reckoned with, by the part of the cost, and how it is known."""
    if part == "kv":
        return attention_rate(scene, parameters, device)[1], gpu_tflops(device)[1]
    unit = gpu_multiplier(scene, parameters, device, experts=part == "experts")
    return unit.tflops, gpu_tflops(device)[1]


def _of_small_products(rate: float, family: GpuFamily) -> float:
    if family != "cuda":
        return rate
    return CUDA_REFERENCE_TFLOPS * math.pow(rate / CUDA_REFERENCE_TFLOPS, CUDA_EXPONENT)


def host_tflops(scene: Scene, parameters: Parameters, *, experts: bool) -> float:
    """TFLOP/s of the host's threads with weights of the model."""
    rate = cpu_tflops(scene.machine.cpu, parameters, scene.engine)
    return rate * TRELLIS_SHARE if experts and k.TRELLIS.search(scene.shape.quantization) else rate


def attention_rate(scene: Scene, parameters: Parameters, device: Device) -> tuple[GpuFamily, float]:
    """Whose kernels attend to the cache on a GPU, and the TFLOP/s that theirs is a share of."""
    family = gpu_family(device, scene.engine)
    rate = _of_small_products(gpu_tflops(device)[0], family)
    if family == "amdvlk" and any(layer.key_length > AMDVLK_HEAD for layer in scene.shape.layers):
        rate *= AMDVLK_WIDE_SHARE
    if parameters.kt is not None:
        rate *= math.pow(parameters.kt.tensor_parallel, SHARED_LINKS)
    return family, rate


def cpu_tflops(cpu: Cpu | None, parameters: Parameters, engine: Engine) -> float:
    """TFLOP/s of the threads that compute a prompt."""
    kt = parameters.kt
    threads = kt.cpu_threads if kt is not None else parameters.threads_batch
    if cpu is not None and cpu.physical_cores:
        threads = min(threads, cpu.physical_cores)
    rate = _thread_tflops(cpu)
    if kt is not None:
        rate = AMX_THREAD_TFLOPS if kt.method.startswith("AMX") else rate
    elif cpu is not None:
        if parameters.no_host and engine.runtime == "llama.cpp" and "amx_int8" in cpu.isa:
            rate = AMX_LLAMA_TFLOPS
        rate *= SOCKETS_SHARE if (cpu.sockets or 1) > 1 else 1.0
    interleaved = engine.runtime == "ik_llama.cpp" or parameters.no_host or kt is not None
    return max(1, threads) * rate * (1.0 if interleaved else PLAIN_KERNEL_SHARE)


def _thread_tflops(cpu: Cpu | None) -> float:
    if cpu is None or not cpu.isa:
        return UNKNOWN_THREAD_TFLOPS
    vendor = cpu.vendor.upper()
    return next(rate for maker, isa, rate in _THREAD_TFLOPS if maker in vendor and set(isa.split()) <= set(cpu.isa))


def copy_gbps(machine: Machine, one_id: str, other_id: str, parameters: Parameters) -> float:
    """GB/s at which weights in the host's memory come to a GPU, or to all that share the layers."""
    gbps = link_gbps(machine, one_id, other_id)[0]
    if parameters.kt is not None:
        return gbps * math.pow(parameters.kt.tensor_parallel, SHARED_LINKS)
    if parameters.load_mode != "mmap":
        return gbps
    memory = host_gbps(machine)[0]
    return min(gbps, PAGEABLE_SHARE * memory) if memory else gbps


def host_gbps(machine: Machine) -> tuple[float | None, Basis]:
    """Bandwidth of the host's memory and how it is known; `None` where neither a measurement nor its modules tell."""
    host = next((device for device in machine.devices if device.kind == "cpu"), None)
    if host is not None and host.bandwidth_gbps:
        return host.bandwidth_gbps, host.bandwidth_basis
    bus = machine.memory.bus if machine.memory is not None else None
    return (bus.theoretical_gbps, bus.basis) if bus is not None else (None, "estimated")


def link_gbps(machine: Machine, one_id: str, other_id: str) -> tuple[float, Basis]:
    """GB/s that a copy between two devices gets, and how it is known."""
    link = machine.link(one_id, other_id)
    if link is None or not link.bandwidth_gbps:
        return UNKNOWN_LINK_GBPS, "estimated"
    return link.bandwidth_gbps * (1.0 if link.basis == "measured" else LINK_SHARE), link.basis
