"""Environment variables of sglang-kt 0.7.2 and kt-kernel: those that hold for a plan, each with its ground. Pure.

Left out on purpose: OMP_NUM_THREADS, as kt-kernel computes on pools of its own with a pinned thread for each core, and
CUDA_CACHE_MAXSIZE, of which its documents say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.solver.kt_methods import cpu_variant, cuda_capability, uses_amx
from app.solver.plan import KtParameters
from detectors.facts import Machine

DEEP_GEMM = (90, 100, 103)
"""Compute capabilities, times ten, that DeepGEMM is made for: Hopper and the data center's Blackwell."""

UNSET = (
    "KT_KERNEL_CPU_VARIANT", "KT_INT8_VNNI_BACKEND", "KT_RAWINT4_BACKEND", "KT_GPTQ_INT4_BACKEND", "KT_MXFP4_BACKEND",
    "KT_MXFP8_BACKEND", "KT_FORCE_SYNC_SUBMIT", "SGLANG_KT_HYBRID_TIMING", "SGLANG_KT_HYBRID_TIMING_DEEP",
    "SGLANG_KT_BYPASS_GPU_MOE", "SGLANG_KT_HYBRID_NO_CPU_STREAM",
)  # fmt: skip
"""They choose other kernels than the plan's, or slow every layer down to time it: a plan does without them.
Sources: kt-kernel 0.7.2, `_cpu_detect.py`, `experts.py`; sglang-kt 0.7.2, `kt_ep_wrapper.py`."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable and the ground for it."""

    name: str
    value: str
    why: str


def settings(kt: KtParameters, machine: Machine | None) -> tuple[Setting, ...]:
    """What has to be set for these parameters on that machine.

    Args:
        kt: of the plan.
        machine: where it is to run; `None`: its cards are not known.
    """
    found = [
        Setting(
            "PYTORCH_ALLOC_CONF",
            "expandable_segments:True",
            "prompts of changing lengths do not tear the card's memory into pieces; kt-kernel's tutorials set it",
        )
    ]
    if kt.method == "FP8" and not _has_deep_gemm(machine):
        found.append(
            Setting(
                "SGLANG_ENABLE_JIT_DEEPGEMM",
                "0",
                "DeepGEMM does not know these cards; kt-kernel's tutorials for FP8 turn it off",
            )
        )
    cpu = machine.cpu if machine is not None else None
    if cpu is not None and cpu_variant(cpu) == "amx" and not uses_amx(cpu):
        found.append(
            Setting(
                "KT_KERNEL_CPU_VARIANT",
                "avx512_bf16",
                "the processor shows AMX and its use is refused here, which kt-kernel does not ask: it would crash",
            )
        )
    if kt.method == "NVFP4" and cpu is not None and "avx512f" in cpu.isa:
        found.append(
            Setting("KT_MXFP4_BACKEND", "avx2", "NVFP4 has a kernel for AVX2 alone, which AVX-512 hosts pass over")
        )
    return tuple(found)


def _has_deep_gemm(machine: Machine | None) -> bool:
    cards = [device for device in machine.devices if device.kind == "dgpu"] if machine else []
    return bool(cards) and all(cuda_capability(card) in DEEP_GEMM for card in cards)
