"""How many bytes a placement takes, device by device.

Weights are exact (they come from the tensor table). The KV cache follows llama.cpp's own padding. Compute buffers are a
formula for the largest set of live activations; the engine's own answer replaces it where it can be asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

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

GPU_CONTEXT_BYTES = 320 * 1024**2
"""What a process takes of a discrete GPU before it loads anything (the driver's context, kernels). Unsloth's figure
for CUDA; others measured 120 to 680 MB."""

PROMPT_CACHE_BYTES = 8 * 1024**3
"""llama-server's own limit for prompts that it keeps in RAM (`--cache-ram`)."""

SCHEDULER_COPIES = 4
"""Copies of its inputs that llama.cpp keeps on each of several devices that work as a pipeline, and on the host: where
all layers are on devices and no tensor is overridden (GGML_SCHED_MAX_COPIES)."""


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
    cells = whole = padded(parameters.context // parameters.parallel)
    if layer.kind == "swa" and window:
        cells = padded(min(cells, window + parameters.ubatch))
    key, value = KV_TYPE_BYTES[parameters.kv_type_k], KV_TYPE_BYTES[parameters.kv_type_v]
    row = layer.kv_heads * (layer.key_length * key + layer.value_length * value)
    # What an indexer or a compressor keeps is of the whole context, whatever the window.
    return round(parameters.parallel * (cells * row + whole * layer.index_length * key + layer.state_bytes))


def kv_bytes(shape: ModelShape, placement: Placement, parameters: Parameters) -> dict[str, int]:
    """Cache and state bytes by device id: a layer's cache lives with its attention."""
    held: defaultdict[str, int] = defaultdict(int)
    for layer, device_id in zip(shape.layers, placement.attention, strict=True):
        held[device_id] += layer_kv_bytes(layer, shape.window, parameters)
    return dict(held)


def weight_bytes(shape: ModelShape, placement: Placement) -> dict[str, int]:
    """Weight bytes by device id; the embedding table and tables of looked-up rows stay on the host."""
    held: defaultdict[str, int] = defaultdict(int)
    held[HOST] += shape.embedding_bytes + shape.lookup_bytes
    for layer, device_id, owner in zip(shape.layers, placement.attention, placement.experts, strict=True):
        held[device_id] += layer.resident_bytes
        if layer.expert_bytes:
            held[owner] += layer.expert_bytes
    held[placement.head] += head_bytes(shape, placement.head)
    return dict(held)


def head_bytes(shape: ModelShape, device_id: str) -> int:
    """Bytes of the output head on that device: none where it shares the embedding table on the host."""
    shared = shape.head_tied and device_id == HOST and shape.architecture not in TABLE_READ_TWICE
    return 0 if shared else shape.head_bytes


@dataclass(frozen=True, slots=True)
class Buffers:
    """Activation bytes of one ubatch, by what a device does with it. llama.cpp reuses the memory of phases."""

    mask: int
    """Who sees whom: tokens x cells x 2 bytes, and once more for the sliding window."""
    row: int
    """One activation of the model's width for each token, float32."""
    experts: int
    attention: int
    output: int
    staging: int
    """One tensor of experts that a GPU copies from host memory to multiply with it."""

    def of_attention(self, *, head: bool, experts: bool, copies: bool, pipeline: bool) -> int:
        """Bytes of a device that has attention layers.

        Args:
            head: it has the output head too.
            experts: it has experts of its own or of others' layers.
            copies: it computes large batches of experts that are in host memory.
            pipeline: it is one of several devices that work on several ubatches at once.
        """
        local = self.mask + self.experts if experts or copies else 0
        largest = max(self.output if head else 0, self.attention, local)
        inputs = (SCHEDULER_COPIES - 1) * (self.mask + 2 * self.row) if pipeline else 0
        return largest + inputs + (self.staging if copies else 0)

    def of_host(self, *, attends: bool, pipeline: bool) -> int:
        """Bytes of the host besides: a copy of the mask and two of the input, or the input where it attends itself."""
        copies = SCHEDULER_COPIES if pipeline else 1
        return self.row if attends else copies * (self.mask + self.row) + self.row


def buffers(shape: ModelShape, parameters: Parameters, *, outputs: int | None = None) -> Buffers:
    """The sizes of a model's activations.

    With T tokens in a ubatch and float32 activations: attention holds T x (2 heads x key + 2 d) beside the mask, the
    experts T x (used x (2 inner + d) + 2 d), the output one row of the vocabulary for each sequence that a server
    answers. The mask is T x cells x 2 bytes with flash attention, once more for the window.

    Args:
        shape: the model.
        parameters: context, ubatch, sequences.
        outputs: rows of the vocabulary that are computed at once where it is not one for each sequence.
            `llama-fit-params` reserves one for each of the T tokens.
    """
    tokens = min(parameters.ubatch, parameters.context)
    cells = padded(parameters.context // parameters.parallel)
    mask = tokens * cells * 2
    if shape.window and any(layer.kind == "swa" for layer in shape.layers):
        mask += tokens * padded(min(cells, shape.window + parameters.ubatch)) * 2
    row = tokens * shape.d_model * 4
    key = max((layer.key_length for layer in shape.layers), default=0)
    return Buffers(
        mask=mask,
        row=row,
        experts=tokens * shape.expert_used * (2 * shape.expert_ff + shape.d_model) * 4 + 2 * row,
        attention=mask + tokens * 2 * shape.heads * key * 4 + 2 * row,
        output=(parameters.parallel if outputs is None else outputs) * shape.vocabulary * 4 + row,
        staging=max((layer.expert_bytes for layer in shape.layers), default=0) // 3,
    )


def copies_experts(parameters: Parameters) -> bool:
    """Whether the first GPU computes large batches of the experts in host memory, so that it needs room for them.

    llama.cpp does so for weights in a host buffer, which a repacked one is not.
    """
    return parameters.op_offload and not parameters.no_host


def compute_bytes(
    shape: ModelShape, placement: Placement, parameters: Parameters, *, outputs: int | None = None
) -> dict[str, int]:
    """Activation buffers by device id.

    With weights and cache they agree with `llama-fit-params` 0.5.0, see tests/benchmarks/memory.py.

    Args:
        shape: the model.
        placement: what is where.
        parameters: context, ubatch, sequences.
        outputs: as for `buffers`.
    """
    sizes = buffers(shape, parameters, outputs=outputs)
    owners = {owner for layer, owner in zip(shape.layers, placement.experts, strict=True) if layer.expert_bytes}
    held = dict.fromkeys(owners, sizes.experts)
    attending = placement.attention_devices
    gpus = [device_id for device_id in attending if device_id.startswith("gpu:")]
    copying = gpus[:1] if HOST in owners and copies_experts(parameters) else []
    pipeline = len(attending) > 1 and HOST not in attending and placement.experts == placement.attention
    for device_id in attending:
        held[device_id] = sizes.of_attention(
            head=device_id == placement.head,
            experts=device_id in owners,
            copies=device_id in copying,
            pipeline=pipeline,
        )
    held[HOST] = held.get(HOST, 0) + sizes.of_host(attends=HOST in attending, pipeline=pipeline)
    return held
