"""What a prompt costs: multiplying where the weights are, or where they are copied to.

A prompt is computed in ubatches. Each reads every weight that it touches once and multiplies it with all its tokens, so
that the rate of multiplication decides, and for weights in host memory either the CPU's rate or the copy over the link.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from app.solver.compute import cpu_tflops, gpu_family, gpu_tflops, link_gbps, streaming_device
from app.solver.constants import BITS_PER_RESIDENT_WEIGHT
from app.solver.decode import is_host_cpu, read_bandwidth, touched_share
from app.solver.model import LayerShape, ModelShape
from app.solver.plan import Parameters, Placement
from app.solver.scene import Cost, Scene, total_ms
from detectors.facts import Device

OFFLOAD_TOKENS = 32
"""Tokens from which llama.cpp copies host weights to the first GPU: GGML_OP_OFFLOAD_MIN_BATCH. ik_llama.cpp wants as
many per expert: 32 x experts / used."""

UBATCHES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
"""The ubatches that are tried for the crossover; 16384 is beyond what anybody's compute buffers take."""


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
    shape = scene.shape
    tokens = tokens_together(parameters, prompt_tokens)
    seen = depth + prompt_tokens / 2
    costs: list[Cost] = []
    for device_id in placement.attention_devices:
        device = scene.machine.device(device_id)
        layers = [shape.layers[i] for i in placement.attention_layers(device_id)]
        resident = sum(layer.resident_bytes for layer in layers)
        attention = sum(attention_flops(layer, shape, seen, tokens) for layer in layers) / 1e9
        giga = sum(resident_weights(layer) for layer in layers) / 1e9
        costs.extend(_multiplying(scene, "attention", device, parameters, giga, resident, tokens))
        costs.append(_attending(scene, device, parameters, attention, _is_latent(layers)))
    costs.extend(_experts(scene, placement, parameters, tokens))
    return [cost for cost in costs if cost.quantity > 0]


def tokens_together(parameters: Parameters, prompt_tokens: int) -> float:
    """Tokens of a prompt that are computed at once: the mean over its ubatches."""
    limit = max(1, min(parameters.ubatch, prompt_tokens))
    if parameters.kt is not None:
        limit = max(1, min(parameters.kt.chunked_prefill or prompt_tokens, prompt_tokens))
    return prompt_tokens / -(-prompt_tokens // limit)


def attention_flops(layer: LayerShape, shape: ModelShape, seen: float, tokens: float) -> float:
    """Multiply-adds, times two, of one token with the `seen` tokens before it in one layer's cache."""
    if layer.kind in ("none", "recurrent"):
        return 0.0
    if layer.kind == "swa" and shape.window:
        seen = min(seen, shape.window + tokens / 2)
    return 2.0 * shape.heads * (layer.key_length + (layer.value_length or layer.key_length)) * seen


def resident_weights(layer: LayerShape) -> float:
    """Weights that every token is multiplied with in that layer, routed experts aside."""
    return layer.resident_weights or layer.resident_bytes * 8 / BITS_PER_RESIDENT_WEIGHT


def expert_weights(layer: LayerShape, shape: ModelShape) -> float:
    """Weights of the routed experts that one token is multiplied with in that layer."""
    if layer.expert_weights:
        return layer.expert_weights * shape.expert_used / shape.expert_count
    return shape.expert_used * 3 * shape.d_model * shape.expert_ff if layer.expert_bytes else 0.0


def streams(scene: Scene, placement: Placement, parameters: Parameters, owner: Device, tokens: float) -> Device | None:
    """The GPU that experts of `owner` are copied to for a batch of that many tokens, or `None`: they stay."""
    if not is_host_cpu(owner) or owner.kind == "remote" or parameters.no_host or not parameters.op_offload:
        return None
    shape = scene.shape
    enough: float = OFFLOAD_TOKENS
    if scene.engine.runtime == "ik_llama.cpp" and shape.expert_used:
        enough *= shape.expert_count / shape.expert_used
    if parameters.kt is not None:
        enough = parameters.kt.gpu_prefill_tokens or float("inf")
    return streaming_device(scene, placement.attention_devices) if tokens >= enough else None


def streaming_crossover(scene: Scene, placement: Placement, parameters: Parameters) -> int | None:
    """The least ubatch from which copying experts to the GPU beats computing them on the CPU.

    Returns:
        `None` where no experts are in host memory, nothing would copy them, or no ubatch is large enough.
    """
    for ubatch in UBATCHES:
        copying = replace(parameters, ubatch=ubatch, op_offload=True)
        owners = (scene.machine.device(device_id) for device_id in placement.devices)
        if not any(streams(scene, placement, copying, owner, ubatch) for owner in owners):
            continue
        staying = replace(copying, op_offload=False)
        copied = prefill_ms(scene, placement, copying, prompt_tokens=ubatch)
        if copied < prefill_ms(scene, placement, staying, prompt_tokens=ubatch):
            return ubatch
    return None


def streaming_saturation(scene: Scene, placement: Placement, parameters: Parameters) -> int | None:
    """The least ubatch at which the copy of the experts is no longer the largest cost of a prompt.

    Returns:
        `None` where nothing is copied, or where it is the largest at every ubatch.
    """
    for ubatch in UBATCHES:
        copying = replace(parameters, ubatch=ubatch)
        costs = prefill_costs(scene, placement, copying, prompt_tokens=ubatch)
        copies = [cost for cost in costs if cost.part == "streaming"]
        if not copies:
            continue
        if total_ms(copies, scene.coefficients) < total_ms(costs, scene.coefficients) / 2:
            return ubatch
    return None


def _is_latent(layers: Iterable[LayerShape]) -> bool:
    return any(layer.key_length and not layer.value_length for layer in layers)


def _multiplying(
    scene: Scene, part: str, device: Device, parameters: Parameters, giga: float, size: float, tokens: float
) -> list[Cost]:
    """`giga` weights (1e9) for each token, read from `size` bytes once for all `tokens`."""
    reads = size / read_bandwidth(device)[0] / 1e6 / tokens
    if is_host_cpu(device):
        rate = cpu_tflops(scene.machine.cpu, parameters, scene.engine)
        constant = "prefill_cpu_experts" if part == "experts" else "prefill_cpu_dense"
        return [
            Cost(part, device.id, constant, 2 * giga / rate),
            Cost(part, device.id, "prefill_cpu_reads", reads),
        ]
    family = gpu_family(device, scene.engine)
    constant = f"prefill_experts_{family}" if part == "experts" else f"prefill_dense_{family}"
    return [
        Cost(part, device.id, constant, 2 * giga / gpu_tflops(device)[0]),
        Cost(part, device.id, "prefill_weights", reads),
    ]


def _attending(scene: Scene, device: Device, parameters: Parameters, gigaflops: float, latent: bool) -> Cost:
    if is_host_cpu(device):
        rate = cpu_tflops(scene.machine.cpu, parameters, scene.engine)
        return Cost("kv", device.id, "prefill_cpu_attention", gigaflops / rate)
    kind = "mla" if latent else "attention"
    return Cost(
        "kv", device.id, f"prefill_{kind}_{gpu_family(device, scene.engine)}", gigaflops / gpu_tflops(device)[0]
    )


def _experts(scene: Scene, placement: Placement, parameters: Parameters, tokens: float) -> list[Cost]:
    shape = scene.shape
    share = 1.0 - (1.0 - touched_share(shape, 1)) ** tokens
    costs = []
    for device_id in placement.devices:
        owned = [i for i in placement.expert_layers(device_id) if shape.layers[i].expert_bytes]
        if not owned:
            continue
        owner = scene.machine.device(device_id)
        touched = sum(shape.layers[i].expert_bytes for i in owned) * share
        giga = sum(expert_weights(shape.layers[i], shape) for i in owned) / 1e9
        target = streams(scene, placement, parameters, owner, tokens)
        if target is not None:
            gbps = link_gbps(scene.machine, owner.id, target.id)[0]
            costs.append(Cost("streaming", target.id, "prefill_stream", touched / gbps / 1e6 / tokens))
        costs.extend(_multiplying(scene, "experts", target or owner, parameters, giga, touched, tokens))
    return costs


def prefill_ms(
    scene: Scene, placement: Placement, parameters: Parameters, *, prompt_tokens: int, depth: int = 0
) -> float:
    """Milliseconds per token of a prompt, without its terms."""
    costs = prefill_costs(scene, placement, parameters, prompt_tokens=prompt_tokens, depth=depth)
    return total_ms(costs, scene.coefficients)
