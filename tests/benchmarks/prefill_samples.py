"""Measured prompts as sums of costs, and what is known of their constants without them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from app.solver.defects import defects_of
from app.solver.prefill import prefill_costs
from app.solver.streaming import OFFLOAD_TOKENS
from tests.benchmarks.rows import Row, is_drafted
from tests.benchmarks.samples import Sample

PRIORS: dict[str, tuple[float, float]] = {
    # llama 8B in Q6_K, 3490 t/s on an RTX 3090 with ubatches of 512: 52 of 71 TFLOPS (llama.cpp PR 7860)
    "prefill_dense_cuda": (1.3, 0.4),
    # llama 7B in Q4_0 on Strix Halo: 20 of 59 TFLOPS with HIP, 17 with Vulkan
    "prefill_dense_hip": (3.0, 0.3),
    "prefill_dense_vulkan": (3.3, 0.3),
    "prefill_dense_amdvlk": (3.3, 0.3),
    "prefill_experts_cuda": (2.5, 0.5),
    "prefill_experts_hip": (6.0, 0.4),
    "prefill_experts_vulkan": (6.0, 0.4),
    "prefill_experts_amdvlk": (9.0, 0.5),
    # half a tile of 32 to 64 tokens for each expert that is touched
    "prefill_tiles_cuda": (10.0, 0.7),
    "prefill_tiles_hip": (30.0, 0.7),
    "prefill_tiles_vulkan": (30.0, 0.7),
    "prefill_tiles_amdvlk": (30.0, 0.7),
    # three launches of 10 microseconds
    "prefill_expert_calls": (0.03, 0.7),
    # as in decoding
    "prefill_weights": (1.4, 0.2),
    # llama 8B at 32K tokens on an RTX 3090: 37 of 71 TFLOPS (llama.cpp PR 17505); 4 query heads for each KV head is few
    "prefill_attention_cuda": (1.3, 0.12),
    "prefill_attention_hip": (7.0, 0.4),
    "prefill_attention_vulkan": (8.0, 0.5),
    "prefill_attention_amdvlk": (25.0, 0.6),
    "prefill_wide_cuda": (1.6, 0.4),
    "prefill_wide_hip": (8.0, 0.5),
    "prefill_wide_vulkan": (8.0, 0.5),
    "prefill_wide_amdvlk": (25.0, 0.6),
    "prefill_mla_cuda": (2.5, 0.5),
    "prefill_mla_hip": (8.0, 0.4),
    "prefill_mla_vulkan": (6.0, 0.4),
    "prefill_mla_amdvlk": (25.0, 0.6),
    # most of a state stays in registers and caches
    "prefill_state": (0.25, 0.5),
    # pinned copies reach 0.9 of what a link carries
    "prefill_stream": (1.1, 0.2),
    "prefill_activations": (1.3, 0.3),
    "prefill_cpu_experts": (0.9, 0.3),
    "prefill_cpu_reads": (1.3, 0.3),
    "prefill_cpu_dense": (0.9, 0.4),
    "prefill_cpu_attention": (1.5, 0.7),
}
"""Value, and standard deviation of its logarithm. Those without a remark are what the reference fit had."""


def prompts_of(rows: Iterable[Row]) -> list[Sample]:
    """The rows without caveats that say how fast a prompt of known length was."""
    found = []
    for row in rows:
        if row.fit_class != "A" or why_not(row):
            continue
        assert row.scene is not None
        assert row.placement is not None
        assert row.parameters is not None
        question = (row.scene, row.placement, row.parameters)
        quantities: defaultdict[str, float] = defaultdict(float)
        for cost in prefill_costs(*question, prompt_tokens=row.prompt_tokens, depth=row.prefill_depth):
            quantities[cost.coefficient] += cost.quantity
        clean = not defects_of(*question) and not _early(row)
        found.append(Sample(row, dict(quantities), 1000 / (row.prefill_tps or 1.0), clean))
    return found


def why_not(row: Row) -> str:
    """Why a row says nothing of how fast prompts are; empty: it does."""
    cells = row.cells
    if row.why_not or not row.prefill_tps or is_drafted(cells) or row.batch > 1:
        return row.why_not or "no prompt alone"
    if not cells.get("prompt_tokens") and not cells.get("context_depth"):
        return "neither the prompt's length nor its depth is stated"
    if row.prompt_tokens < OFFLOAD_TOKENS:
        return "a prompt of a few tokens is decoding"
    return "a GPU computes what the placement leaves to the CPU" if "ngl=0" in cells.get("placement", "") else ""


def _early(row: Row) -> bool:
    """HIP before it had kernels for the matrix units of RDNA 3.5: a fifth of today's speed, in builds of 2025."""
    return row.scene is not None and row.scene.engine.backend == "rocm" and row.scene.engine.built < "2025-09"
