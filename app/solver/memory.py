"""How many bytes a placement takes, device by device.

Weights are exact (they come from the tensor table). The KV cache follows llama.cpp's own padding. Compute buffers are a
formula for the largest set of live activations; the engine's own answer replaces it where it can be asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from app.solver.model import KvType, LayerShape, ModelShape
from app.solver.plan import Parameters, Placement

KV_TYPE_BYTES: Mapping[KvType, float] = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0,
    "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32, "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Bytes of one cached element: block bytes over block length of ggml's types."""

CELL_PADDING = 256
"""llama.cpp pads the cells of a KV cache to this."""

TABLE_READ_TWICE = frozenset({"gemma4"})
"""Architectures whose tied head llama.cpp loads a second time on the CPU too: it makes the head before the table
(`src/models/gemma4.cpp`), where the others find the table and share it."""

HOST = "cpu"
"""Id of the device that holds the embedding table and the engine's input buffers."""


def padded(cells: int) -> int:
    """Round up to whole blocks of KV cells."""
    return -(-cells // CELL_PADDING) * CELL_PADDING


def layer_kv_bytes(layer: LayerShape, window: int, parameters: Parameters) -> int:
    """Cache and state bytes of one layer for all sequences.

    Source: llama.cpp's kv-cache and kv-cache-iswa: `cells x streams x (K row + V row)`; a sliding-window layer keeps
    the window plus one ubatch.
    """
    if layer.kind == "none":
        return 0
    if layer.kind == "recurrent":
        return layer.state_bytes * parameters.parallel
    cells = padded(parameters.context // parameters.parallel)
    if layer.kind == "swa" and window:
        cells = padded(min(cells, window + parameters.ubatch))
    row = layer.kv_heads * (
        layer.key_length * KV_TYPE_BYTES[parameters.kv_type_k]
        + layer.value_length * KV_TYPE_BYTES[parameters.kv_type_v]
    )
    return round(cells * parameters.parallel * row)


def kv_bytes(shape: ModelShape, placement: Placement, parameters: Parameters) -> dict[str, int]:
    """Cache and state bytes by device id: a layer's cache lives with its attention."""
    held: defaultdict[str, int] = defaultdict(int)
    for layer, device_id in zip(shape.layers, placement.attention, strict=True):
        held[device_id] += layer_kv_bytes(layer, shape.window, parameters)
    return dict(held)


def weight_bytes(shape: ModelShape, placement: Placement) -> dict[str, int]:
    """Weight bytes by device id; the embedding table stays on the host."""
    held: defaultdict[str, int] = defaultdict(int)
    held[HOST] += shape.embedding_bytes
    for layer, device_id, owner in zip(shape.layers, placement.attention, placement.experts, strict=True):
        held[device_id] += layer.resident_bytes
        if layer.expert_bytes:
            held[owner] += layer.expert_bytes
    shares_head = shape.head_tied and placement.head == HOST and shape.architecture not in TABLE_READ_TWICE
    held[placement.head] += 0 if shares_head else shape.head_bytes
    return dict(held)


def compute_bytes(
    shape: ModelShape, placement: Placement, parameters: Parameters, *, outputs: int | None = None
) -> dict[str, int]:
    """Activation buffers by device id: the largest of the phases whose memory llama.cpp reuses.

    With T tokens in a ubatch and float32 activations: attention holds T x (2 heads x key + 2 d) beside the mask, the
    experts T x (used x (2 inner + d) + 2 d), the output one row of the vocabulary for each sequence that a server
    answers. The mask is T x cells x 2 bytes with flash attention, once more for the window; the host keeps a copy of it
    and two of the input. With weights and cache it agrees with `llama-fit-params` 0.5.0 within 2 % of each device's
    total for thirteen architectures (T 512 and 2048, 4K and 32K cells).

    Args:
        shape: the model.
        placement: what is where.
        parameters: context, ubatch, sequences.
        outputs: rows of the vocabulary that are computed at once where it is not one for each sequence.
            `llama-fit-params` reserves one for each of the T tokens.
    """
    tokens = min(parameters.ubatch, parameters.context)
    cells = padded(parameters.context // parameters.parallel)
    mask = tokens * cells * 2
    if any(layer.kind == "swa" for layer in shape.layers) and shape.window:
        mask += tokens * padded(min(cells, shape.window + parameters.ubatch)) * 2
    row = tokens * shape.d_model * 4
    key = max((layer.key_length for layer in shape.layers), default=0)
    experts = tokens * shape.expert_used * (2 * shape.expert_ff + shape.d_model) * 4 + 2 * row
    attention = mask + tokens * 2 * shape.heads * key * 4 + 2 * row
    output = (parameters.parallel if outputs is None else outputs) * shape.vocabulary * 4 + row
    owners = {owner for layer, owner in zip(shape.layers, placement.experts, strict=True) if layer.expert_bytes}
    held = dict.fromkeys(owners, experts)
    for device_id in placement.attention_devices:
        local = mask + experts if device_id in owners else 0
        held[device_id] = max(output if device_id == placement.head else 0, attention, local)
    held[HOST] = held.get(HOST, 0) + (row if placement.attention_devices == (HOST,) else mask + 2 * row)
    return held
