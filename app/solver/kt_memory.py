"""What KTransformers takes of host and GPU memory."""

from __future__ import annotations

from dataclasses import replace

from app.solver import memory
from app.solver.kt_methods import Method
from app.solver.model import ModelShape
from app.solver.plan import DeviceMemory, Parameters
from app.units import GIB, MIB

PROCESS_BYTES = 4 * GIB
"""Python, PyTorch and CUDA's host side of a server and its scheduler. judgement."""

GRAPH_BATCH = 32
"""Sequences for which SGLang records CUDA graphs, 2 MB each in its own rule."""


def converted(shape: ModelShape, method: Method) -> ModelShape:
    """The model with the weights that the method computes with, in place of the file's."""
    gpu, host = method.gpu_bytes_per_weight, method.bytes_per_weight
    layers = tuple(
        replace(
            layer,
            attention_bytes=round(_resident_weights(layer.resident_weights, layer.resident_bytes) * gpu),
            norm_bytes=0,
            router_bytes=0,
            shared_bytes=0,
            dense_bytes=0,
            expert_bytes=round(layer.expert_weights * host),
        )
        for layer in shape.layers
    )
    table = round(shape.vocabulary * shape.d_model * 2.0)
    return replace(
        shape,
        layers=layers,
        embedding_bytes=table,
        head_bytes=table,
        head_tied=False,
        nextn_layers=0,
        nextn_bytes=0,
        file_bytes=2 * table + sum(layer.weight_bytes for layer in layers),
        quantization=method.name,
    )


def host_memory(shape: ModelShape, parameters: Parameters) -> DeviceMemory:
    """Of the host: all experts, those that are on the GPU too, and each pool's buffers for a chunk of a prompt.

    For K experts a token, H and I the widths, I' a pool's share of I and a chunk of C tokens a pool takes
    rows x (5 H + 9 I') + 4 K C (H + I') bytes, rows = C K + 32 E; measured 125, 488 and 970 MB where this says 125, 474
    and 940 (kt-kernel 0.7.2, AMXINT8, H 2048, I 768, K 8).
    """
    kt = parameters.kt
    assert kt is not None
    share = shape.expert_ff // kt.pools
    rows = kt.chunked_prefill * shape.expert_used + 32 * shape.expert_count
    buffers = rows * (5 * shape.d_model + 9 * share)
    buffers += 4 * shape.expert_used * kt.chunked_prefill * (shape.d_model + share)
    return DeviceMemory(
        device_id=memory.HOST,
        weight_bytes=shape.expert_bytes,
        kv_bytes=0,
        compute_bytes=buffers * kt.pools,
        available_bytes=None,
        reserve_bytes=0,
        other_bytes=PROCESS_BYTES,
    )


def gpu_memory(shape: ModelShape, method: Method, parameters: Parameters) -> DeviceMemory:
    """Of each GPU: its share of all but the experts, of the cache and of the resident experts, and SGLang's reserve.

    SGLang leaves 512 + 1.5 x max(chunk, 2048) + 2 x graphs + 128 x GPUs MB of a card for activations and CUDA graphs
    (`_handle_gpu_memory_settings`); prompts that are computed layer by layer need one whole layer of experts besides.
    """
    kt = parameters.kt
    assert kt is not None
    cache = sum(memory.layer_kv_bytes(layer, shape.window, parameters) for layer in shape.layers)
    reserve = round((512 + 1.5 * max(kt.chunked_prefill, 2048) + 2 * GRAPH_BATCH + 128 * kt.tensor_parallel) * MIB)
    slot = round(max(layer.expert_weights for layer in shape.layers) * method.gpu_bytes_per_weight)
    weights = resident_weights(shape) + kt.resident_experts * expert_on_gpu(shape, method)
    return DeviceMemory(
        device_id="",
        weight_bytes=-(-weights // kt.tensor_parallel),
        kv_bytes=-(-cache // min(kt.tensor_parallel, _cache_parts(shape))),
        compute_bytes=reserve + (slot // kt.tensor_parallel if kt.gpu_prefill_tokens else 0),
        available_bytes=None,
        reserve_bytes=0,
        other_bytes=memory.GPU_CONTEXT_BYTES,
    )


def _cache_parts(shape: ModelShape) -> int:
    """How many GPUs the cache can be divided over: one for each KV head; a latent cache (MLA) is on all of them."""
    latent = any(layer.key_length and not layer.value_length for layer in shape.layers)
    return 1 if latent else max(1, *(layer.kv_heads for layer in shape.layers))


def resident_weights(shape: ModelShape) -> int:
    """Bytes that the GPU holds whatever the experts: layers, table and head."""
    return sum(layer.resident_bytes for layer in shape.layers) + shape.embedding_bytes + shape.head_bytes


def expert_on_gpu(shape: ModelShape, method: Method) -> int:
    """Bytes of one expert of every layer on the GPU, which computes with the checkpoint's own type."""
    weights = sum(layer.expert_weights for layer in shape.layers) // shape.expert_count
    return round(weights * method.gpu_bytes_per_weight)


def resident_limit(shape: ModelShape, method: Method, parameters: Parameters, room: int) -> int:
    """The most experts of every layer that fit a GPU; negative where not even the rest does."""
    kt = parameters.kt
    assert kt is not None
    left = room - gpu_memory(shape, method, parameters).total_bytes
    each = -(-expert_on_gpu(shape, method) // kt.tensor_parallel)
    return min(shape.expert_count, left // each) if left >= 0 else -1


def _resident_weights(weights: int, size: int) -> float:
    """Weights that are not experts; where only their bytes are known, those of Q8_0."""
    return weights or size * 8 / 8.5
