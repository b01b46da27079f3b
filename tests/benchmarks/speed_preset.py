"""The text of presets/devices/speed.toml: constants with their range, unit, reason and source."""

from __future__ import annotations

from collections.abc import Mapping

from app.solver.coefficients import Coefficients

PEAK, RATED, LAYERS, THREADS = "ms at peak bandwidth", "ms at rated FP16", "layers", "MFLOP / threads"

TEXTS: dict[str, tuple[str, str]] = {
    "gpu_weights": (PEAK, "a graphics card reads weights at {percent} % of its peak"),
    "igpu_weights": (PEAK, "an integrated GPU reads weights at {percent} % of the memory's peak"),
    "gpu_experts": (
        PEAK,
        "a GPU reads one token's experts, matrices apart from each other, at {percent} % of its peak",
    ),
    "gpu_unpacking": (PEAK, "experts' weights are unpacked before they are multiplied, whatever their bits"),
    "gpu_flops": (RATED, "a GPU multiplies weights with few tokens at {percent} % of its rated speed"),
    "gpu_layer": (LAYERS, "kernel launches of attention or a dense network"),
    "gpu_recurrent_layer": (LAYERS, "kernel launches of linear attention or a state space"),
    "gpu_latent_layer": (LAYERS, "the kernels that a latent cache (MLA) needs besides"),
    "gpu_expert_layer": (LAYERS, "kernel launches of router and experts"),
    "kv": (PEAK, "CUDA reads an f16 cache at {percent} % of the peak"),
    "kv_vulkan": (PEAK, "Vulkan reads an f16 cache at {percent} % of the peak"),
    "kv_amdvlk": (PEAK, "AMD's other Vulkan driver reads an f16 cache at {percent} % of the peak"),
    "kv_hip": (PEAK, "HIP reads an f16 cache at {percent} % of the peak"),
    "kv_quantized": (PEAK, "a quantized cache costs more time than f16, on fewer bytes"),
    "kv_plain": (PEAK, "without flash attention the scores are written and read as well"),
    "kv_latent": (RATED, "all query heads attend to one latent row (MLA), at {percent} % of the rated FP16"),
    "cpu_weights": (PEAK, "one socket reads weights at {percent} % of what its modules and links can"),
    "cpu_laptop": (
        PEAK,
        "a laptop's processor beside a busy graphics card reads at {percent} % of what its modules can",
    ),
    "cpu_sockets": (PEAK, "two sockets without NUMA care, {percent} % of the sum of both"),
    "cpu_numa": (PEAK, "two sockets whose threads and pages are distributed, {percent} % of the sum of both"),
    "kt_weights": (PEAK, "kt-kernel reads experts at {percent} % of the sum of all sockets"),
    "cpu_layer": ("layers x threads / 32", "barriers between the threads"),
    "cpu_virtual": (LAYERS, "a virtual machine's threads wait longer for each other"),
    "cpu_flops": (THREADS, "a core multiplies 40 GFLOPS of quantized weights, one token at a time"),
    "cpu_attention": (THREADS, "a core of Zen 4 attends to the cache at {gflops} GFLOPS"),
    "cpu_trellis": (THREADS, "trellis weights are computed before they are multiplied"),
    "crossing": (LAYERS, "to another device and back: waits"),
    "crossing_width": ("layers x d_model / 4096", "to another device and back: copies"),
    "crossing_threads": ("layers x threads / 32", "the CPU's threads are woken and waited for"),
    "kt_crossing": (LAYERS, "to kt-kernel's threads and back"),
    "rpc_call": ("calls", "one graph handed to an RPC device, and its answer"),
    "rpc_node": ("calls", "an RPC server on another host, for every token: its network and its turn"),
    "rpc_bytes": ("ms at link bandwidth", "activations over the network"),
    "rpc_wait": ("ms of network latency", "the measured way there and back, each time that a tensor is fetched"),
    "crossing_host": ("layers", "without peer-to-peer, AMD GPUs send each other everything by way of the host"),
}
"""Unit of the quantity, and what the constant stands for."""

FIXED: dict[str, tuple[float, float, float, str]] = {
    "gpu_flops": (4.0, 2.0, 8.0, "judgement: prompts reach 20 to 70 %"),
    "cpu_flops": (
        0.025,
        0.018,
        0.04,
        "thread sweeps on i5-12400F and Core Ultra 265K; lab: 45 to 60 on a vCPU",
    ),
    "cpu_numa": (2.5, 1.3, 4.0, "published two-socket EPYCs with --numa distribute: 30 to 80 % of the sum"),
    "cpu_virtual": (0.2, 0.1, 0.4, "lab: a model of 12 narrow layers on two vCPUs of an EPYC"),
    "rpc_call": (0.35, 0.2, 0.6, "lab: two servers on loopback, 0.74 ms there and back"),
    "rpc_bytes": (1.0, 0.8, 1.5, "judgement"),
    "rpc_wait": (1.0, 0.9, 1.3, "lab: llama.cpp over 10.6 ms there and back"),
    "crossing_host": (
        0.5,
        0.3,
        0.7,
        "article on a W7900 beside a Strix Halo: almost half the speed, all 36 layers' experts on the"
        " other GPU; its figures are not stated",
    ),
}
"""Constants that rows do not tell: value, low, high, source."""

_LABEL = "fit-2026-11"

_HEAD = """# Constants of the speed model: milliseconds per unit of the quantity that each multiplies.
# `fit-2026-11`: written by tests/benchmarks/fit.py, robust least squares with priors over {basis}
# (published measurements of llama.cpp, ik_llama.cpp and KTransformers, one token of one sequence), with the share of
# the prior's spread that the rows took away; `low` to `high` is a bootstrap over hardware groups, 90 %.
# Ranges: measured over predicted, 90 %, of machines that the constants did not see.

[coefficients]
"""


def preset_text(
    fitted: Mapping[str, tuple[float, float, float, float]],
    ranges: Mapping[str, tuple[float, float]],
    shipped: Coefficients,
    basis: str,
) -> str:
    """The whole file.

    Args:
        fitted: value, low, high and the share that rows tell, by name.
        ranges: measured over predicted speed, 90 %, by kind of placement.
        shipped: the constants so far: names that are neither fitted nor fixed keep theirs.
        basis: how many rows of how many machines, and when.
    """
    lines = [_HEAD.format(basis=basis)]
    for name, (unit, why) in TEXTS.items():
        if name in fitted:
            value, low, high, told = fitted[name]
            source = f"{_LABEL}, {told:.0%} told by rows".replace("%", " %")
        elif name in FIXED:
            value, low, high, source = FIXED[name]
        else:
            one = shipped.values[name]
            value, low, high, source = one.value, one.low, one.high, one.source
        words = why.format(percent=round(100 / value), gflops=round(1 / value))
        lines.append(
            f"{name} = {{ value = {value:.4g}, low = {min(low, value):.4g}, high = {max(high, value):.4g},"
            f' unit = "{unit}", why = "{words}", source = "{source}" }}\n'
        )
    lines.append("\n[ranges]\n")
    lines.extend(f'"decode.{kind}" = [{low:.2f}, {high:.2f}]\n' for kind, (low, high) in ranges.items())
    return "".join(lines)
