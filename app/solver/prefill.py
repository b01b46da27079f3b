"""What a prompt costs: multiplying where the weights are, or where they are copied to.

A prompt is computed in ubatches. Each reads every weight that it touches once and multiplies it with all its tokens, so
that the rate of multiplication decides, and for weights in host memory either the CPU's rate or the copy over the link.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from app.solver.compute import attention_rate, copy_gbps, gpu_multiplier, host_gbps, host_tflops, link_gbps
from app.solver.decode import is_gpu, passes_host, read_bandwidth, touched_share
from app.solver.defects import with_defects
from app.solver.layer_sums import LayerSums, runs_of
from app.solver.network import crossing_wait_ms, network_gbps, there_and_back_ms
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene, total_ms
from app.solver.streaming import has_host_experts, streams
from detectors.facts import Device

UBATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""The ubatches that are tried for the crossover; beyond 16384 nobody's compute buffers fit."""


EXPANDED_SHARE = 0.294
"""Operations of latent attention with keys and values expanded, over those with the latent rows themselves:
(192 + 128) / (576 + 512) for DeepSeek's and Kimi's heads."""

EXPANSION_TOKENS = 410
"""Tokens of a ubatch at which expanding the cache, once for each ubatch, costs as much as attention to it:
512 x 256 / 320."""

EXPANDING_RUNTIMES = frozenset({"ik_llama.cpp", "ktransformers"})
"""Those that expand latent rows for a prompt (`-mla 3`, SGLang); llama.cpp attends to the rows themselves."""


REREAD_MB = 80.0
REREAD_SLOPE = 1.6
REREAD_MOST = 3.5
"""Vulkan's attention reads the cache again for every few tokens: once a layer's keys and values outgrow what the GPU
caches, it waits for memory. fit-2026-11, Strix Halo with RADV: 1 up to 67 MB in a layer, 1.8 to 3 at 134 MB, 3 to 4
at 268 MB (gpt-oss, Qwen3.6 27B, Ministral 3, MiniMax M2.7); not so heads of 512 elements (Gemma 4)."""


class _Ubatch(NamedTuple):
    """What is asked of every device."""

    scene: Scene
    placement: Placement
    parameters: Parameters
    tokens: float
    """Computed together."""
    seen: float
    """Tokens that one of them looks at, in the mean."""


class _Weights(NamedTuple):
    """Weights that a token is multiplied with."""

    giga: float
    """Billions, of one token."""
    size: float
    """Bytes that all tokens together touch."""
    touched: float = 0.0
    """Billions of weights that all tokens of a ubatch touch: of routed experts."""
    experts: float = 0.0
    """Routed experts that they touch, of all layers."""


def prefill_costs(
    scene: Scene, placement: Placement, parameters: Parameters, *, prompt_tokens: int, depth: int = 0
) -> list[Cost]:
    """Every cost of a prompt, in milliseconds per token as the mean over it.

    Args:
        scene: model, machine, constants, engine.
        placement: what is where.
        parameters: ubatch, threads, load mode, op-offload.
        prompt_tokens: length of the prompt.
        depth: tokens that are in the cache before it.
    """
    tokens = tokens_together(parameters, prompt_tokens)
    step = _Ubatch(scene, placement, parameters, tokens, depth + prompt_tokens / 2)
    attention: dict[str, LayerSums] = {}
    experts: dict[tuple[str, str], LayerSums] = {}
    for run in runs_of(scene.shape, placement):
        known = attention.get(run.attention)
        attention[run.attention] = run.sums if known is None else known + run.sums
        if run.sums.expert_layers:
            there = experts.get((run.attention, run.experts))
            experts[run.attention, run.experts] = run.sums if there is None else there + run.sums
    costs: list[Cost] = []
    for device_id, sums in attention.items():
        costs.extend(_attention(step, scene.machine.device(device_id), sums))
    for (attention_id, owner_id), sums in experts.items():
        costs.extend(_experts(step, scene.machine.device(attention_id), scene.machine.device(owner_id), sums))
    head = scene.machine.device(placement.head)
    reading = "prefill_weights" if is_gpu(head) else "prefill_cpu_reads"
    costs.append(Cost("head", head.id, reading, scene.shape.head_bytes / _gbps(step, head) / 1e6 / prompt_tokens))
    return with_defects([cost for cost in costs if cost.quantity > 0], scene, placement, parameters)


def prefill_ms(
    scene: Scene, placement: Placement, parameters: Parameters, *, prompt_tokens: int, depth: int = 0
) -> float:
    """Milliseconds per token of a prompt, without its terms."""
    costs = prefill_costs(scene, placement, parameters, prompt_tokens=prompt_tokens, depth=depth)
    return total_ms(costs, scene.coefficients)


def tokens_together(parameters: Parameters, prompt_tokens: int) -> float:
    """Tokens of a prompt that are computed at once: the mean over its ubatches."""
    limit = parameters.ubatch if parameters.kt is None else parameters.kt.chunked_prefill or prompt_tokens
    return prompt_tokens / -(-prompt_tokens // max(1, min(limit, prompt_tokens)))


def streaming_crossover(scene: Scene, placement: Placement, parameters: Parameters) -> int | None:
    """The least ubatch from which copying the host's experts to the GPU beats computing them on the CPU.

    Returns:
        `None` where no experts are in host memory, nothing copies them, or no ubatch is large enough.
    """
    if not has_host_experts(scene, placement):
        return None
    host = scene.machine.device("cpu")
    for ubatch in UBATCHES:
        copying = replace(parameters, ubatch=ubatch)
        if streams(scene, placement, copying, host, ubatch) is None:
            continue
        staying = replace(copying, op_offload=False)
        copied = prefill_ms(scene, placement, copying, prompt_tokens=ubatch)
        if copied < prefill_ms(scene, placement, staying, prompt_tokens=ubatch):
            return ubatch
    return None


def streaming_saturation(scene: Scene, placement: Placement, parameters: Parameters) -> int | None:
    """The least ubatch at which the copy of weights is no longer half of what a prompt takes.

    Returns:
        `None` where nothing is copied, or where the copy is the most at every ubatch.
    """
    for ubatch in UBATCHES:
        costs = prefill_costs(scene, placement, replace(parameters, ubatch=ubatch), prompt_tokens=ubatch)
        copies = [cost for cost in costs if cost.part == "streaming"]
        if copies and total_ms(copies, scene.coefficients) < total_ms(costs, scene.coefficients) / 2:
            return ubatch
    return None


def _attention(step: _Ubatch, device: Device, sums: LayerSums) -> list[Cost]:
    """All but the routed experts: weights, the cache, recurrent states, and the way to another host."""
    costs = _computing(step, "attention", device, _Weights(sums.resident_giga, sums.resident_bytes))
    costs.extend(_attending(step, device, sums))
    state = 2.0 * sums.state_bytes / _gbps(step, device) / 1e6
    costs.append(Cost("kv", device.id, "prefill_state", state))
    if device.kind == "remote":
        moved = 2 * step.scene.shape.d_model * 4 / network_gbps(step.scene.machine, device)[0] / 1e6
        waits_ms = there_and_back_ms(step.scene.machine, device) or 0.0
        costs.append(Cost("RPC", device.id, "rpc_bytes", moved))
        costs.append(Cost("RPC", device.id, "rpc_wait", waits_ms / step.tokens))
    return costs


def _attending(step: _Ubatch, device: Device, sums: LayerSums) -> list[Cost]:
    """Each token with what the cache holds before it; a sliding window's tiles reach half a ubatch further."""
    window = min(step.seen, step.scene.shape.window + step.tokens / 2)
    flops = (sums.flops * step.seen + sums.window_flops * window) / 1e9
    wide = (sums.wide_flops * step.seen + sums.wide_window_flops * window) / 1e9
    latent = sums.latent_flops * step.seen / 1e9
    if step.scene.engine.runtime in EXPANDING_RUNTIMES:
        latent *= EXPANDED_SHARE * (1 + EXPANSION_TOKENS / step.tokens)
    if not is_gpu(device):
        rate = host_tflops(step.scene, step.parameters, experts=False)
        return [Cost("kv", device.id, "prefill_cpu_attention", (flops + wide + latent) / rate)]
    family, rate = attention_rate(step.scene, step.parameters, device)
    if family == "vulkan" and sums.reread_layers:
        cached = 2 * sums.reread_rows / sums.reread_layers * step.seen / 1e6
        again = min(REREAD_MOST, 1 + REREAD_SLOPE * max(0.0, cached / REREAD_MB - 1))
        flops, wide = flops * again, wide * again
    return [
        Cost("kv", device.id, f"prefill_attention_{family}", flops / rate),
        Cost("kv", device.id, f"prefill_wide_{family}", wide / rate),
        Cost("kv", device.id, f"prefill_mla_{family}", latent / rate),
    ]


def _experts(step: _Ubatch, attention: Device, owner: Device, sums: LayerSums) -> list[Cost]:
    """Routed experts of layers whose attention is on one device and whose experts are on one."""
    shape = step.scene.shape
    share = touched_share(shape, 1)
    touched = 1.0 - (1.0 - share) ** step.tokens
    away = owner.id != attention.id
    kept = step.placement.resident_experts / shape.expert_count if away and shape.expert_count else 0.0
    costs: list[Cost] = []
    for device, part in ((owner, 1.0 - kept), (attention, kept)):
        if part:
            weights = _Weights(
                sums.expert_giga * share * part,
                sums.expert_bytes * touched * part,
                sums.expert_giga * touched * part,
                sums.expert_layers * shape.expert_count * touched * part,
            )
            costs.extend(_computing(step, "experts", device, weights))
    if away and streams(step.scene, step.placement, step.parameters, owner, step.tokens) is None:
        costs.extend(_crossings(step, owner, attention, sums.expert_layers))
    return costs


def _computing(step: _Ubatch, part: str, owner: Device, weights: _Weights) -> list[Cost]:
    """Multiplying weights that `owner` has: there, or on the GPU that they are copied to."""
    target = streams(step.scene, step.placement, step.parameters, owner, step.tokens)
    if target is None:
        return _multiplying(step, part, owner, weights)
    gbps = copy_gbps(step.scene.machine, owner.id, target.id, step.parameters)
    copying = Cost("streaming", target.id, "prefill_stream", weights.size / gbps / 1e6 / step.tokens)
    return [copying, *_multiplying(step, part, target, weights)]


def _multiplying(step: _Ubatch, part: str, device: Device, weights: _Weights) -> list[Cost]:
    experts = part == "experts"
    kind = "experts" if experts else "dense"
    reads = weights.size / _gbps(step, device) / 1e6 / step.tokens
    if not is_gpu(device):
        rate = host_tflops(step.scene, step.parameters, experts=experts)
        return [
            Cost(part, device.id, f"prefill_cpu_{kind}", 2 * weights.giga / rate),
            Cost(part, device.id, "prefill_cpu_reads", reads),
        ]
    unit = gpu_multiplier(step.scene, step.parameters, device, experts=experts)
    costs = [
        Cost(part, device.id, f"prefill_{kind}_{unit.family}", 2 * weights.giga / unit.tflops),
        Cost(part, device.id, "prefill_weights", reads / unit.cards),
    ]
    if experts:
        tiles = 2 * weights.touched / unit.tflops / step.tokens
        costs.append(Cost(part, device.id, f"prefill_tiles_{unit.family}", tiles))
        if unit.one_by_one:
            costs.append(Cost(part, device.id, "prefill_expert_calls", weights.experts / step.tokens))
    return costs


def _gbps(step: _Ubatch, device: Device) -> float:
    """Bandwidth of what a device reads its weights from."""
    known = host_gbps(step.scene.machine)[0] if device.kind == "cpu" else None
    return known or read_bandwidth(device)[0]


def _crossings(step: _Ubatch, owner: Device, attention: Device, layers: float) -> list[Cost]:
    """The way of `layers` layers' activations to another device and back.

    Rows of float32: one of each token there; back one from a GPU, from the CPU one for each expert, as their sum is
    taken on the GPU.
    """
    rows = 1 + (1 if is_gpu(owner) else step.scene.shape.expert_used)
    constant, gbps = "prefill_activations", link_gbps(step.scene.machine, owner.id, attention.id)[0]
    if passes_host(step.scene.machine, owner, attention):
        gbps /= 2  # over the link to the host's memory, and from there over it again
    if "remote" in (owner.kind, attention.kind):
        constant, gbps = "rpc_bytes", network_gbps(step.scene.machine, owner, attention)[0]
    moved = layers * rows * step.scene.shape.d_model * 4 / gbps / 1e6
    waits = Cost("crossing", owner.id, "crossing", layers / step.tokens)
    network_ms = layers * crossing_wait_ms(step.scene.machine, owner, attention) / step.tokens
    return [waits, Cost("crossing", owner.id, constant, moved), Cost("crossing", owner.id, "rpc_wait", network_ms)]
