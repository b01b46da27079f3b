"""Writes small models in the shape of large ones: true tensors, few layers, random weights.

Layers are alike, so what a few of them cost tells what all cost (see `ModelSpec.full_layers`), and what is measured
on such a file is what the machine does with the real one's shapes and types.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from app.errors import UsageError
from app.models.architectures import blueprint_of, metadata_of, parts_by_layer, tensors_of
from app.models.catalog import find_spec
from app.models.ggml_types import TYPES_BY_NAME
from app.models.gguf import TensorInfo
from app.models.layout import Layout, lay_out
from app.models.new_file import new_file
from app.models.spec import ModelSpec
from app.models.vocabulary import SPECIAL_TOKENS, tokenizer_metadata
from app.models.weights import tile
from app.units import MIB

__all__ = ["SliceReport", "find_spec", "sliced", "write_slice", "write_sparse"]

MIN_VOCABULARY = 512
CHUNK_BYTES = 4 * MIB
"""Written at once, and the step of the progress reports."""
LOGIT_DEVIATION = 3.0
"""Spread of the output logits: syllables then outweigh bytes and control tokens, whose logits are zero."""
SMALL_DEVIATION = 0.02
"""Of biases and sinks, and of norms around one."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SliceReport:
    """What was written."""

    path: Path
    spec: ModelSpec
    """The slice's own dimensions."""
    file_bytes: int
    tensors: int
    seed: int


def sliced(
    spec: ModelSpec, *, layers: int | None = None, experts: int | None = None, vocabulary: int | None = None
) -> ModelSpec:
    """The same model with fewer layers, experts or tokens.

    A slice is there to be timed, so it must hold what the model is made of: leading dense layers are left out before
    any with experts. `layers=2` of DeepSeek V3 are two of its 58 layers with experts, and only from 59 on some of its
    three dense layers come in front of them. Where layers differ in turn (a state here, attention there), a slice
    takes them in the model's order, so whole periods stand for the model best.

    Raises:
        UsageError: more than the model has, or so few that there are no experts or no attention among them.
    """
    _check("layers", layers, 1, spec.layers)
    _check("experts", experts, spec.experts_used, spec.experts)
    _check("vocabulary", vocabulary, MIN_VOCABULARY, spec.vocabulary)
    chosen = _with_layers(spec, layers) if layers else spec
    if lack := _lacks(spec, chosen):
        least = next(n for n in range(chosen.layers + 1, spec.layers + 1) if not _lacks(spec, _with_layers(spec, n)))
        raise UsageError(
            f"{spec.name} has no {lack} in its first {chosen.layers} layers", hint=f"Give {least} layers or more."
        )
    return replace(chosen, experts=experts or spec.experts, vocabulary=vocabulary or spec.vocabulary)


def first_layer(layers: int, total: int, dense_lead: int) -> int:
    """Where a slice of so many layers begins: leading dense layers are left out first."""
    return max(0, dense_lead - max(0, layers - (total - dense_lead)))


def _with_layers(spec: ModelSpec, layers: int) -> ModelSpec:
    start = first_layer(layers, spec.layers, spec.dense_lead)
    return replace(
        spec,
        layers=layers,
        nextn=0,
        pattern=spec.pattern[start : start + layers],
        dense_lead=spec.dense_lead - start,
        full_layers=spec.layers if layers < spec.layers else spec.full_layers,
    )


def _lacks(spec: ModelSpec, chosen: ModelSpec) -> str | None:
    """What the model has and these layers of it have not."""
    parts = {name for names in parts_by_layer(chosen) for name in names}
    if spec.experts and "moe" not in parts:
        return "experts"
    # llama.cpp 0.5.0 stops at an assertion where layers keep states and none has a cache.
    return "attention" if "recurrent" in parts and "full" not in parts else None


def write_slice(
    spec: ModelSpec,
    path: Path,
    *,
    layers: int | None = None,
    experts: int | None = None,
    vocabulary: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> SliceReport:
    """Write a GGUF with this model's shapes and types and random weights that stay finite.

    Args:
        spec: the model.
        path: the file; it appears when it is complete.
        layers: how many, all by default.
        experts: routed experts per layer, all by default.
        vocabulary: tokens, all by default.
        seed: the same seed gives the same bytes.
        on_progress: called with bytes done and bytes in all.

    Raises:
        UsageError: dimensions that the model does not have, or a type that cannot be written.
        ModelError: the file cannot be written, or there is too little disk space.
        BusyError: another process writes it.
    """
    chosen = sliced(spec, layers=layers, experts=experts, vocabulary=vocabulary)
    layout = _layout(chosen)
    report = on_progress or (lambda done, total: None)
    with new_file(path, layout.file_bytes) as file:
        file.write(layout.header)
        writer = _Writer(file, seed, layout.file_bytes, chosen.experts, report)
        for tensor in layout.tensors:
            writer.write(tensor)
        file.truncate(layout.file_bytes)
        report(layout.file_bytes, layout.file_bytes)
    return SliceReport(path, chosen, layout.file_bytes, len(layout.tensors), seed)


def write_sparse(spec: ModelSpec, path: Path) -> SliceReport:
    """Write the true header and a hole for the weights: enough to ask an engine what the model would need.

    The file has its full length and takes a few MB of disk. It answers `llama-fit-params`; it cannot generate.

    Raises:
        ModelError: the file cannot be written.
        BusyError: another process writes it.
    """
    layout = _layout(spec)
    with new_file(path, layout.file_bytes, sparse=True) as file:
        file.write(layout.header)
        file.truncate(layout.file_bytes)
    return SliceReport(path, spec, layout.file_bytes, len(layout.tensors), 0)


def _layout(spec: ModelSpec) -> Layout:
    if not blueprint_of(spec).loadable:
        raise UsageError(
            f"llama.cpp does not know the architecture {spec.architecture}, so no engine could run a slice of"
            f" {spec.name}",
            hint="`moetune plan` reckons with it all the same.",
        )
    return lay_out(metadata_of(spec) | tokenizer_metadata(spec.vocabulary), tensors_of(spec))


def _check(what: str, asked: int | None, least: int, most: int) -> None:
    if asked is not None and not least <= asked <= most:
        raise UsageError(f"{asked} is not a possible number of {what}", hint=f"Give {least} to {most}.")


class _Writer:
    """Fills a file's tensors, each from the tile of its type and spread, and reports how far it is."""

    def __init__(self, file: BinaryIO, seed: int, total: int, experts: int, on_progress: Progress) -> None:
        self._file = file
        self._experts = max(experts, 1)
        self._seed = seed
        self._total = total
        self._report = on_progress
        self._reported = 0
        self._tiles: dict[tuple[str, float, float], bytes] = {}

    def write(self, tensor: TensorInfo) -> None:
        """Fill one tensor, beginning at a place of its own in the tile."""
        self._file.write(bytes(tensor.offset - self._file.tell()))
        if tensor.type_name == "I32":
            self._file.write(_expert_ids(tensor.shape, self._experts))
            return
        pattern = memoryview(self._tile(tensor))
        left = tensor.bytes
        if tensor.name == "output.weight":
            silent = tensor.bytes // tensor.shape[1] * SPECIAL_TOKENS
            self._file.write(bytes(silent))
            left -= silent
        block = TYPES_BY_NAME[tensor.type_name].block_bytes
        start = zlib.crc32(tensor.name.encode(), self._seed) % (len(pattern) // block) * block
        while left:
            chunk = pattern[start : start + min(left, CHUNK_BYTES)]
            self._file.write(chunk)
            left -= len(chunk)
            start = (start + len(chunk)) % len(pattern)
            self._progress()

    def _tile(self, tensor: TensorInfo) -> bytes:
        mean, deviation = _distribution(tensor)
        key = (tensor.type_name, deviation, mean)
        if key not in self._tiles:
            # A seed for each: with equal bytes in embedding and head, every token would predict itself.
            self._tiles[key] = tile(tensor.type_name, deviation, zlib.crc32(repr(key).encode(), self._seed), mean)
        return self._tiles[key]

    def _progress(self) -> None:
        done = self._file.tell()
        if done - self._reported >= CHUNK_BYTES:
            self._reported = done
            self._report(done, self._total)


def _expert_ids(shape: tuple[int, ...], experts: int) -> bytes:
    """For every token as many different experts as its row is long (`ffn_gate_tid2eid`)."""
    return array("i", (index % experts for index in range(math.prod(shape)))).tobytes()


def _distribution(tensor: TensorInfo) -> tuple[float, float]:
    """Mean and standard deviation of a tensor's weights: matrices keep the size of what they multiply."""
    if "norm" in tensor.name or tensor.name.endswith("scale"):
        return 1.0, SMALL_DEVIATION
    if tensor.name.endswith("ssm_a"):
        return -1.0, SMALL_DEVIATION  # a state must fade
    if tensor.name.endswith(".bias") or "sinks" in tensor.name:
        return 0.0, SMALL_DEVIATION
    if tensor.name == "token_embd.weight":
        return 0.0, 1.0
    return 0.0, (LOGIT_DEVIATION if tensor.name == "output.weight" else 1.0) / math.sqrt(tensor.shape[0])
