"""The text of presets/devices/speed_prefill.toml: constants of prompts with their range, unit, reason and source."""

from __future__ import annotations

from collections.abc import Mapping

PEAK, RATED, THREADS, LINK = (
    "ms at peak bandwidth",
    "ms at rated FP16",
    "GFLOP / TFLOPS of the threads",
    "ms at the link's bandwidth",
)
_FAMILIES = {"cuda": "CUDA", "hip": "HIP", "vulkan": "Vulkan", "amdvlk": "AMD's other Vulkan driver"}
_BY_FAMILY = {
    "dense": "{family} multiplies weights at {percent} % of the rated speed",
    "experts": "{family} multiplies experts at {percent} % of the rated speed",
    "tiles": "{family} fills tiles: every expert costs as much as {tokens} tokens at the rated speed",
    "attention": "{family} attends to the cache at {percent} % of the rated speed",
    "wide": "{family} attends to a cache of wide heads at {percent} % of the rated speed",
    "mla": "{family} attends to a latent cache at {percent} % of the rated speed",
}
TEXTS: dict[str, tuple[str, str]] = {
    "prefill_expert_calls": ("touched experts", "ik_llama.cpp multiplies one expert after the other: launches"),
    "prefill_weights": (PEAK, "a GPU reads weights once for each ubatch, at {percent} % of the peak"),
    "prefill_state": (PEAK, "recurrent states are updated token by token, most of it in caches"),
    "prefill_stream": (LINK, "weights are copied over the link once for each ubatch, at {percent} % of its bandwidth"),
    "prefill_activations": (LINK, "activations go to another device and back"),
    "prefill_cpu_experts": (THREADS, "the CPU multiplies experts"),
    "prefill_cpu_reads": (PEAK, "the CPU reads weights once for each ubatch, at {percent} % of the peak"),
    "prefill_cpu_dense": (THREADS, "the CPU multiplies what is not an expert"),
    "prefill_cpu_attention": (THREADS, "the CPU attends to the cache"),
}
"""Unit of the quantity, and what the constant stands for; those of a GPU's kernels are named by family."""

_HEAD = """# Constants of the speed model of prompts: milliseconds per unit of the quantity that each multiplies.
# `fit-2026-11`: written by tests/benchmarks/fit_prefill.py, robust least squares with priors over
# {basis} (published measurements of llama.cpp, ik_llama.cpp and KTransformers), with the
# share of the prior's spread that the rows took away; `low` to `high` is 90 %: a bootstrap over hardware groups, or
# what the prior leaves open where that is more.
# Ranges: measured over predicted, 90 %, of machines that the constants did not see.

[coefficients]
"""


def preset_text(
    fitted: Mapping[str, tuple[float, float, float, float]], ranges: Mapping[str, tuple[float, float]], basis: str
) -> str:
    """The whole file.

    Args:
        fitted: value, low, high, and the share of the prior that the rows took away.
        ranges: 90 % of measured over predicted, by kind of placement.
        basis: how many rows of how many machines, when.
    """
    lines = []
    for name, (value, low, high, told) in fitted.items():
        unit, why = _text(name, value)
        source = f"fit-2026-11, told by rows {told:.0%}" if told >= 0.05 else "judgement: no row tells"
        lines.append(
            f"{name} = {{ value = {value:.3g}, low = {min(low, value):.3g}, high = {max(high, value):.3g},"
            f' unit = "{unit}", why = "{why}", source = "{source}" }}'
        )
    lines += ["", "[ranges]"]
    lines += [f'"prefill.{kind}" = [{low:.2f}, {high:.2f}]' for kind, (low, high) in ranges.items()]
    return _HEAD.format(basis=basis) + "\n".join(lines) + "\n"


def _text(name: str, value: float) -> tuple[str, str]:
    filled = {"percent": f"{100 / value:.0f}", "tokens": f"{value:.0f}"}
    if name in TEXTS:
        unit, why = TEXTS[name]
        return unit, why.format(**filled)
    _, kind, family = name.split("_")
    return RATED, _BY_FAMILY[kind].format(family=_FAMILIES[family], **filled)
