"""When weights in host memory are copied to a GPU for a prompt, and when that pays."""

from __future__ import annotations

from collections.abc import Sequence

from app.solver.decode import is_host_cpu
from app.solver.plan import Parameters, Placement
from app.solver.scene import Scene
from detectors.facts import Device

OFFLOAD_TOKENS = 32
"""Tokens from which llama.cpp copies host weights to the first GPU: GGML_OP_OFFLOAD_MIN_BATCH. ik_llama.cpp wants as
many per expert: 32 x experts / used."""


def streams(scene: Scene, placement: Placement, parameters: Parameters, owner: Device, tokens: float) -> Device | None:
    """The GPU that weights of `owner` are copied to for a batch of that many tokens, or `None`: they stay.

    Weights that were repacked for the CPU, or that another GPU holds, stay; so do all without op-offload. The first GPU
    in the order of `-dev` computes what is copied, whichever has the layer's attention.
    """
    if owner.kind != "cpu" or parameters.no_host or not parameters.op_offload:
        return None
    enough: float = OFFLOAD_TOKENS
    if parameters.kt is not None:
        enough = parameters.kt.gpu_prefill_tokens or float("inf")
    elif scene.engine.runtime == "ik_llama.cpp" and scene.shape.expert_used:
        enough *= scene.shape.expert_count / scene.shape.expert_used
    return first_gpu(scene, placement.attention_devices) if tokens >= enough else None


def first_gpu(scene: Scene, device_ids: Sequence[str]) -> Device | None:
    """The first of these devices that is a GPU of this host."""
    devices = (scene.machine.device(device_id) for device_id in device_ids)
    return next((device for device in devices if device.kind in ("dgpu", "igpu")), None)


def has_host_experts(scene: Scene, placement: Placement) -> bool:
    """Whether routed experts are in the host's memory while a GPU has attention."""
    layers = scene.shape.layers
    owners = {placement.experts[i] for i, layer in enumerate(layers) if layer.expert_bytes}
    on_host = any(is_host_cpu(scene.machine.device(owner)) for owner in owners)
    return on_host and first_gpu(scene, placement.attention_devices) is not None
