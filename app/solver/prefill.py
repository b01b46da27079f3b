"""What a prompt costs: multiplying where the weights are, or where they are copied to.

A prompt is computed in ubatches. Each reads every weight that it touches once and multiplies it with all its tokens, so
that the rate of multiplication decides, and for weights in host memory either the CPU's rate or the copy over the link.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from app.solver import constants as k
from app.solver.compute import copy_gbps, cpu_tflops, gpu_family, gpu_tflops, host_gbps, link_gbps
from app.solver.decode import is_host_cpu, read_bandwidth, touched_share
from app.solver.model import LayerShape, ModelShape
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene, total_ms
from app.solver.streaming import has_host_experts, streams
from detectors.facts import Device

EXPANDED_SHARE = 0.3
"""Multiplications of latent attention with its keys and values expanded, over those with the latent rows themselves:
(192 + 128) / (576 + 512) for DeepSeek's. ik_llama.cpp expands them for a prompt (`-mla 3`), llama.cpp does not."""

WIDE_HEAD = 128
"""Elements of a head beyond which attention kernels work with other tiles: 256 for Qwen3.5, 512 for Gemma 4."""

MXFP4_SHARE = 0.6
"""Time of multiplying experts in MXFP4 over the same in other types, whose scales are more work to unpack.
fit-2026-11: gpt-oss on Strix Halo, 0.5 to 0.7 with any backend."""

UBATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""The ubatches that are tried for the crossover; beyond 16384 nobody's compute buffers fit."""


@dataclass(slots=True)
class _Work:
    """What one device has to do for a token of the prompt, summed over the layers."""

    layers: int = 0
    weights: float = 0.0
    """Multiplied with every token."""
    size: float = 0.0
    """Bytes of those, read once for each ubatch."""
    flops: float = 0.0
    """Of attention with heads of up to 128 elements."""
    wide_flops: float = 0.0
    """Of attention with wider heads."""
    latent_flops: float = 0.0
    state: float = 0.0
    """Bytes of recurrent state, read and written."""
    touched: float = 0.0
    """Weights of the routed experts that a ubatch touches."""


def prefill_costs(
    scene: Scene, placement: Placement, parameters: Parameters, *, prompt_tokens: int, depth: int = 0
) -> list[Cost]:
    """Every cost of a prompt, in milliseconds per token as the mean over it.

    Args:
        scene: model, machine, constants.
        placement: what is where.
        parameters: ubatch, threads, KV type, op-offload.
        prompt_tokens: length of the prompt.
        depth: tokens that are in the cache before it.
    """
    tokens = tokens_together(parameters, prompt_tokens)
    costs: list[Cost] = []
    for device_id, work in _attention_work(scene.shape, placement, depth + prompt_tokens / 2, tokens).items():
        device = scene.machine.device(device_id)
        if scene.engine.runtime == "ik_llama.cpp":
            work.latent_flops *= EXPANDED_SHARE
        costs.extend(_computing(scene, placement, parameters, "attention", device, work, tokens))
        costs.append(Cost("layers", device_id, "gpu_layer", work.layers / tokens))
        costs.extend(_attending(scene, parameters, device, work))
    head = scene.machine.device(placement.head)
    reading = "prefill_cpu_reads" if is_host_cpu(head) else "prefill_weights"
    per_prompt = scene.shape.head_bytes / read_bandwidth(head)[0] / 1e6 / prompt_tokens
    costs.append(Cost("head", head.id, reading, per_prompt))
    costs.extend(_experts(scene, placement, parameters, tokens))
    return [cost for cost in costs if cost.quantity > 0]


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


def attention_flops(layer: LayerShape, shape: ModelShape, seen: float, tokens: float) -> float:
    """Multiply-adds, times two, of one token with the `seen` tokens before it in one layer's cache."""
    if layer.kind in ("none", "recurrent"):
        return 0.0
    if layer.kind == "swa" and shape.window:
        seen = min(seen, shape.window + tokens / 2)
    each = layer.attention_flops or 2 * shape.heads * (layer.key_length + (layer.value_length or layer.key_length))
    return float(each * seen)


def resident_weights(layer: LayerShape) -> float:
    """Weights that every token is multiplied with in that layer, routed experts aside."""
    return layer.resident_weights or layer.resident_bytes * 8 / k.BITS_PER_RESIDENT_WEIGHT


def expert_weights(layer: LayerShape, shape: ModelShape) -> float:
    """Weights of all routed experts of that layer."""
    if layer.expert_weights or not layer.expert_bytes:
        return layer.expert_weights
    return shape.expert_count * 3 * shape.d_model * shape.expert_ff


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


def _attention_work(shape: ModelShape, placement: Placement, seen: float, tokens: float) -> dict[str, _Work]:
    """By device, what all but the routed experts costs."""
    found: defaultdict[str, _Work] = defaultdict(_Work)
    for layer, device_id in zip(shape.layers, placement.attention, strict=True):
        work = found[device_id]
        work.layers += 1
        work.weights += resident_weights(layer)
        work.size += layer.resident_bytes
        if layer.kind == "recurrent":
            work.state += 2.0 * layer.state_bytes
        elif not layer.value_length:
            work.latent_flops += attention_flops(layer, shape, seen, tokens)
        elif layer.key_length > WIDE_HEAD:
            work.wide_flops += attention_flops(layer, shape, seen, tokens)
        else:
            work.flops += attention_flops(layer, shape, seen, tokens)
    return found


def _attending(scene: Scene, parameters: Parameters, device: Device, work: _Work) -> list[Cost]:
    """Attention over the cache, and the recurrent states."""
    state = Cost("kv", device.id, "prefill_state", work.state / read_bandwidth(device)[0] / 1e6)
    if is_host_cpu(device):
        rate = cpu_tflops(scene.machine.cpu, parameters, scene.engine)
        flops = (work.flops + work.wide_flops + work.latent_flops) / 1e9
        return [Cost("kv", device.id, "prefill_cpu_attention", flops / rate), state]
    family, rate = gpu_family(device, scene.engine), gpu_tflops(device)[0]
    return [
        Cost("kv", device.id, f"prefill_attention_{family}", work.flops / 1e9 / rate),
        Cost("kv", device.id, f"prefill_wide_{family}", work.wide_flops / 1e9 / rate),
        Cost("kv", device.id, f"prefill_mla_{family}", work.latent_flops / 1e9 / rate),
        state,
    ]


def _experts(scene: Scene, placement: Placement, parameters: Parameters, tokens: float) -> list[Cost]:
    shape = scene.shape
    share = touched_share(shape, 1)
    touched = 1.0 - (1.0 - share) ** tokens
    found: defaultdict[tuple[str, str], _Work] = defaultdict(_Work)
    owners = zip(shape.layers, placement.attention, placement.experts, strict=True)
    for layer, attention_id, owner_id in owners:
        if layer.expert_bytes:
            work = found[attention_id, owner_id]
            work.layers += 1
            work.weights += expert_weights(layer, shape) * share
            work.size += layer.expert_bytes * touched
            work.touched += expert_weights(layer, shape) * touched
    costs = []
    for (attention_id, owner_id), work in found.items():
        device = scene.machine.device(owner_id)
        costs.extend(_computing(scene, placement, parameters, "experts", device, work, tokens))
        if owner_id != attention_id and streams(scene, placement, parameters, device, tokens) is None:
            costs.extend(_crossings(scene, device, scene.machine.device(attention_id), work.layers, tokens))
    return costs


def _computing(
    scene: Scene, placement: Placement, parameters: Parameters, part: str, owner: Device, work: _Work, tokens: float
) -> list[Cost]:
    """Multiplying weights that `owner` has: there, or on the GPU that they are copied to."""
    target = streams(scene, placement, parameters, owner, tokens)
    if target is None:
        return _multiplying(scene, parameters, part, owner, work, tokens)
    gbps = copy_gbps(scene.machine, owner.id, target.id, parameters)
    return [
        Cost("streaming", target.id, "prefill_stream", work.size / gbps / 1e6 / tokens),
        *_multiplying(scene, parameters, part, target, work, tokens),
    ]


def _multiplying(
    scene: Scene, parameters: Parameters, part: str, device: Device, work: _Work, tokens: float
) -> list[Cost]:
    reads = work.size / _bandwidth(scene, device) / 1e6 / tokens
    gigaflops = 2 * work.weights / 1e9
    if is_host_cpu(device):
        rate = cpu_tflops(scene.machine.cpu, parameters, scene.engine)
        return [
            Cost(
                part, device.id, "prefill_cpu_experts" if part == "experts" else "prefill_cpu_dense", gigaflops / rate
            ),
            Cost(part, device.id, "prefill_cpu_reads", reads),
        ]
    family, rate = gpu_family(device, scene.engine), gpu_tflops(device)[0]
    if parameters.kt is not None:
        rate *= parameters.kt.tensor_parallel**0.5
        reads /= parameters.kt.tensor_parallel
    if part != "experts":
        return [
            Cost(part, device.id, f"prefill_dense_{family}", gigaflops / rate),
            Cost(part, device.id, "prefill_weights", reads),
        ]
    if scene.shape.architecture == "gpt-oss" or "MXFP4" in scene.shape.quantization.upper():
        rate /= MXFP4_SHARE
    return [
        Cost(part, device.id, f"prefill_experts_{family}", gigaflops / rate),
        Cost(part, device.id, f"prefill_tiles_{family}", 2 * work.touched / 1e9 / rate / tokens),
        Cost(part, device.id, "prefill_weights", reads),
    ]


def _bandwidth(scene: Scene, device: Device) -> float:
    known = host_gbps(scene.machine)[0] if device.kind == "cpu" else None
    return known or read_bandwidth(device)[0]


def _crossings(scene: Scene, owner: Device, attention: Device, layers: int, tokens: float) -> list[Cost]:
    """The way of `layers` layers' activations to another device and back.

    Rows of float32: one of each token there; back one from a GPU, from the CPU one for each expert, as their sum is
    taken on the GPU.
    """
    rows = 1 + (scene.shape.expert_used if is_host_cpu(owner) else 1)
    gbps = link_gbps(scene.machine, owner.id, attention.id)[0]
    constant = "prefill_activations"
    if "remote" in (owner.kind, attention.kind):
        gbps, constant = k.RPC_BANDWIDTH_GBPS, "rpc_bytes"
    moved = layers * rows * scene.shape.d_model * 4 / gbps / 1e6
    return [
        Cost("crossing", owner.id, "crossing", layers / tokens),
        Cost("crossing", owner.id, constant, moved),
    ]
