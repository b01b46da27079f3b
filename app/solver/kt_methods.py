"""What KTransformers can do with which processor, weights and shapes: the rules of kt-kernel 0.7.2.

Sources: the wheel of kt-kernel (`experts.py`, `utils/amx.py`, `moe-tp.hpp`, the instruction sets of its builds)
and runs of it. Its documents ask for more than its code does: AMXINT8 runs on AVX-512 without AMX.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.solver.model import ModelShape
from detectors.facts import Cpu, Device

RELEASE = "sglang-kt 0.7.2"
"""The release whose rules and flags these are."""

ARCHITECTURES = frozenset({
    "deepseek2", "deepseek32", "glm4moe", "glm-dsa", "minimax-m2", "qwen3moe", "qwen3next", "qwen35moe",
})  # fmt: skip
"""Those of the models that its documents name: DeepSeek V3 and V3.2, Kimi K2, GLM 4.5 to 5, MiniMax M2, Qwen3 and 3.5.
Its kernels compute gated experts with SiLU only."""

OLDEST_CUDA = 80
"""Compute capability, times ten: Ampere. Its documents name 80, 86, 89, 90 and 120."""

FP8_CUDA = 89
"""From Ada on a GPU multiplies FP8 itself."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way of computing experts on the processor (`--kt-method`)."""

    name: str
    isa: tuple[tuple[str, ...], ...]
    """Sets of instructions, any of which is enough; the best first."""
    bytes_per_weight: float
    """Of the experts in host memory."""
    alignment: int
    """The experts' inner width must be a multiple of it on every pool."""
    gpu_bytes_per_weight: float
    """Of the checkpoint that the GPU computes with: its dtype."""
    weights: str
    """What has to be downloaded or converted."""
    layerwise: bool
    """Whether long prompts can be computed layer by layer on the GPU (`--kt-gpu-prefill-token-threshold`)."""
    caution: str = ""


_AVX512 = ("avx512f", "avx512bw")
_CONVERTED = (
    "the BF16 checkpoint, the rest of it converted with kt-kernel/scripts/convert_gpu_weights.py (W8A16), its experts"
    " with convert_cpu_weights.py"
)
_W8A16 = 1.03
"""Bytes of a weight with its scale, one for each 128 weights or fewer."""

METHODS = (
    Method(
        "AMXINT8", (("amx_tile", "amx_int8", *_AVX512), _AVX512), 1.006, 64, _W8A16,
        f"{_CONVERTED} --quant-method int8", layerwise=False,
    ),
    Method(
        "FP8", (_AVX512, ("avx2",)), 1.0, 128, 1.0,
        "the publisher's FP8 checkpoint (blocks of 128)", layerwise=True,
    ),
    Method(
        "BF16", (_AVX512, ("avx2",)), 2.0, 32, 2.0,
        "the BF16 checkpoint", layerwise=True,
    ),
    Method(
        "AMXINT4", (("amx_tile", "amx_int8", *_AVX512), _AVX512), 0.506, 128, _W8A16,
        f"{_CONVERTED} --quant-method int4", layerwise=False,
        caution="AMXINT4 costs accuracy: 22 to 27 % error of a layer where AMXINT8 has 2 %; its documents warn of it"
        " for Qwen3-30B-A3B",
    ),
)  # fmt: skip
"""In the order of preference among equals. Left out: what needs weights of another kind than a published checkpoint
has (RAWINT4, GPTQ, MXFP4), and LLAMAFILE, which computes a GGUF as llama.cpp does and writes garbage where a pool's
share is not even (Qwen3-30B-A3B on two)."""


def missing_isa(method: Method, cpu: Cpu | None) -> tuple[str, ...]:
    """Instructions that the processor lacks for that method; empty where it can be used."""
    known = set(cpu.isa) if cpu is not None else set()
    lacking = [tuple(one for one in wanted if one not in known) for wanted in method.isa]
    return () if () in lacking else min(lacking, key=len)


_AVX512_VNNI = (*_AVX512, "avx512_vnni")
_VARIANTS = (
    ("amx", ("amx_tile", "amx_int8", "amx_bf16", *_AVX512_VNNI, "avx512_bf16")),
    ("avx512_bf16", (*_AVX512_VNNI, "avx512_bf16")),
    ("avx512_vnni", _AVX512_VNNI),
    ("avx512_base", _AVX512),
)
"""Builds in kt-kernel's wheel with the flags that it wants of each (`_cpu_detect.py`), the best first; AVX512-VBMI,
which those of the first two have as well, is left out: every processor with BF16 has it."""


def cpu_variant(cpu: Cpu) -> str:
    """The build that kt-kernel takes by the processor's flags, whether or not programs are granted AMX."""
    known = set(cpu.isa)
    return next((name for name, flags in _VARIANTS if known >= set(flags)), "avx2")


def uses_amx(cpu: Cpu | None) -> bool:
    """Whether the processor has AMX and may use it."""
    if cpu is None or not {"amx_tile", "amx_int8"} <= set(cpu.isa):
        return False
    return cpu.amx is None or cpu.amx.granted is not False


def pool_counts(cpu: Cpu | None) -> tuple[int, ...]:
    """Thread pools that may be, the best first: one for each NUMA node with memory and cores, or fewer."""
    nodes = sum(1 for node in cpu.numa_nodes if node.cpus and node.memory_bytes != 0) if cpu is not None else 1
    return tuple(range(max(1, nodes), 0, -1))


def misaligned(method: Method, width: int, pools: int) -> str:
    """Why experts of that inner width cannot be shared by so many pools; empty where they can."""
    if width % pools:
        return f"the experts' width of {width} cannot be shared by {pools} pools"
    if width // pools % method.alignment:
        return f"{width} over {pools} pools is {width // pools}, which is no multiple of {method.alignment}"
    return ""


def indivisible(shape: ModelShape, gpus: int) -> str:
    """Why that many GPUs cannot share a layer's attention; empty where they can."""
    if shape.heads % gpus:
        return f"{shape.heads} heads cannot be shared by {gpus} GPUs"
    kv_heads = max((layer.kv_heads for layer in shape.layers), default=1) or 1
    if kv_heads % gpus and gpus % kv_heads:
        return f"{kv_heads} KV heads cannot be shared by {gpus} GPUs"
    return ""


def cuda_capability(device: Device) -> int:
    """`89` of `sm_89`; 0 for what is no NVIDIA GPU."""
    name = device.arch or ""
    return int(name.removeprefix("sm_")) if name.startswith("sm_") and name[3:].isdigit() else 0


def unusable_gpu(device: Device, method: Method) -> str:
    """Why that GPU cannot do its part; empty where it can."""
    if device.kind != "dgpu" or not device.vendor.upper().startswith("NVIDIA"):
        return f"{device.label} is no NVIDIA card"
    capability = cuda_capability(device)
    if capability and capability < OLDEST_CUDA:
        return f"{device.label} is older than Ampere (compute capability {capability / 10:.1f})"
    if capability and method.name == "FP8" and capability < FP8_CUDA:
        return f"{device.label} does not multiply FP8"
    return ""
