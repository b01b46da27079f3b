"""Cuts some layers out of a real model file: the same weights, tokenizer and types, few layers.

What is copied are whole tensors and the bytes of metadata entries; only what counts layers is written anew. So a slice
of a file has everything that the file has, whatever wrote it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import ModelError, UsageError
from app.models.architectures import TensorPlan
from app.models.cursor import ARRAY, SCALARS
from app.models.families import FAMILIES
from app.models.gguf import DEFAULT_ALIGNMENT, GgufHeader, TensorInfo, read_header
from app.models.keys import Keys
from app.models.layout import Layout, entry, lay_out_entries
from app.models.memory_geometry import layer_memories, window_flags
from app.models.new_file import new_file
from app.models.slices import CHUNK_BYTES, Progress, first_layer
from app.models.tensor_classes import place_of

_NOT_BY_LAYER = ("rope.", "ple.", "tokenizer.")
"""Arrays of the architecture's that are not one value for each layer."""
_FULL_ONLY = "rope_freqs.weight"
"""Belongs to layers that see everything: llama.cpp refuses it where there is none (`src/models/gemma4.cpp`)."""
_DROPPED = ("split.no", "split.count", "split.tensors.count")


@dataclass(frozen=True, slots=True)
class FileSliceReport:
    """What was cut out."""

    path: Path
    layers: int
    first_layer: int
    """Of the file's layers, the one that is the slice's first."""
    full_layers: int
    file_bytes: int
    tensors: int


def slice_file(source: Path, path: Path, *, layers: int, on_progress: Progress | None = None) -> FileSliceReport:
    """Write a GGUF with some layers of another one.

    Leading dense layers are left out first, as `sliced` does it: two layers of DeepSeek V3 are two with experts. The
    layers for multi-token prediction are left out.

    Args:
        source: a model file, or any part of a split one.
        path: the slice; it appears when it is complete.
        layers: how many.
        on_progress: called with bytes done and bytes in all.

    Raises:
        UsageError: the model has fewer layers, or the slice would overwrite it.
        ModelError: the model cannot be read or the slice not be written.
        BusyError: another process writes the slice.
    """
    header = read_header(source)
    if any(path.exists() and path.samefile(part) for part in header.files):
        raise UsageError(f"{path} is the model itself.", hint="Give another file for the slice.")
    total = _trunk(header)
    if not 0 < layers <= total:
        raise UsageError(f"{layers} is not a possible number of layers", hint=f"{source.name} has {total}.")
    start = first_layer(layers, total, _dense_lead(header, total))
    _check_attention(header, start, layers, total)
    kept = [(tensor, name) for tensor in header.tensors if (name := _renamed(tensor, start, layers)) is not None]
    flags = _windows(header, total)[start : start + layers]
    if flags and all(flags):
        kept = [(tensor, name) for tensor, name in kept if name != _FULL_ONLY]
    layout = _layout(header, kept, start, layers, total)
    report = on_progress or (lambda done, total: None)
    with new_file(path, layout.file_bytes) as file:
        file.write(layout.header)
        _copy(header, [tensor for tensor, _ in kept], layout, file, report)
        file.truncate(layout.file_bytes)
        report(layout.file_bytes, layout.file_bytes)
    return FileSliceReport(path, layers, start, total, layout.file_bytes, len(kept))


def _check_attention(header: GgufHeader, start: int, layers: int, total: int) -> None:
    """Refuse layers that keep states and have no attention among them: llama.cpp 0.5.0 stops at an assertion."""
    family = FAMILIES.get(header.architecture)
    if family is None:
        return
    keys = Keys(header)
    kinds = [memory.kind for memory in layer_memories(keys, family, total, keys.count("embedding_length"))][start:]
    if "recurrent" in kinds[:layers] and not {"full", "swa"} & set(kinds[:layers]):
        least = next((n + 1 for n, kind in enumerate(kinds) if kind in ("full", "swa")), total)
        raise UsageError(f"{header.path.name} has no attention in those {layers} layers", hint=f"Give {least} or more.")


def _trunk(header: GgufHeader) -> int:
    keys = Keys(header)
    return keys.count("block_count") - keys.count("nextn_predict_layers", 0)


def _dense_lead(header: GgufHeader, total: int) -> int:
    """Leading layers with a dense network in place of experts; 0 where such layers come later too."""
    places = {place_of(tensor.name) for tensor in header.tensors}
    moe = {layer for layer, purpose in places if purpose == "experts" and layer is not None}
    dense = {layer for layer, purpose in places if purpose == "dense" and layer is not None and layer < total} - moe
    return len(dense) if moe and dense == set(range(len(dense))) else 0


def _renamed(tensor: TensorInfo, start: int, layers: int) -> str | None:
    """The tensor's name in the slice, None where it is left out."""
    layer, _ = place_of(tensor.name)
    if layer is None:
        return tensor.name
    if not start <= layer < start + layers:
        return None
    return tensor.name.replace(f"blk.{layer}.", f"blk.{layer - start}.", 1)


def _layout(header: GgufHeader, kept: list[tuple[TensorInfo, str]], start: int, layers: int, total: int) -> Layout:
    plans = [TensorPlan(name, tensor.shape, place_of(name)[1], tensor.type_name) for tensor, name in kept]
    alignment = header.metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    entries = list(_entries(header, start, layers, total))
    return lay_out_entries(entries, plans, alignment if isinstance(alignment, int) else DEFAULT_ALIGNMENT)


def _entries(header: GgufHeader, start: int, layers: int, total: int) -> Iterator[bytes]:
    """The metadata, with what counts layers set to the slice's."""
    changed = _changed(header, start, layers, total)
    prefix = f"{header.architecture}."
    with header.files[0].open("rb") as file:
        for key, (begin, end) in header.spans.items():
            value = header.metadata[key]
            own = key.removeprefix(prefix) if key.startswith(prefix) else ""
            if key in _DROPPED or own == "nextn_predict_layers":
                continue
            if key in changed:
                yield entry(key, changed.pop(key))
                continue
            file.seek(begin)
            raw = file.read(end - begin)
            if own and isinstance(value, tuple) and len(value) >= total and not own.startswith(_NOT_BY_LAYER):
                raw = _cut(key, raw, start, layers)
            yield raw
    for key, value in changed.items():
        yield entry(key, value)


def _changed(header: GgufHeader, start: int, layers: int, total: int) -> dict[str, object]:
    """Keys whose value is another in the slice."""
    keys = Keys(header)
    found: dict[str, object] = {
        keys.full_name("block_count"): layers,
        "general.name": f"{header.metadata.get('general.name', header.path.stem)} (slice: {layers} of {total} layers)",
    }
    lead = keys.count("leading_dense_block_count", 0)
    if lead:
        found[keys.full_name("leading_dense_block_count")] = max(0, lead - start)
    if hashed := keys.count("hash_layer_count", 0):
        found[keys.full_name("hash_layer_count")] = max(0, min(hashed - start, layers))
    if shared := keys.count("attention.shared_kv_layers", 0):
        found[keys.full_name("attention.shared_kv_layers")] = max(0, layers - (total - shared))
    if start and (flags := _windows(header, total)):
        # By default layers are told by their number, and they have others now.
        found[keys.full_name("attention.sliding_window_pattern")] = flags[start : start + layers]
    return found


def _windows(header: GgufHeader, total: int) -> tuple[bool, ...]:
    family = FAMILIES.get(header.architecture)
    return window_flags(Keys(header), family, total) if family else ()


def _cut(key: str, raw: bytes, start: int, layers: int) -> bytes:
    """An entry that holds an array, with the elements of the slice's layers only."""
    at = 8 + len(key.encode())
    kind, element, _ = struct.unpack_from("<IIQ", raw, at)
    if kind != ARRAY or element not in SCALARS:
        return raw
    size, first = SCALARS[element].size, at + 16
    elements = raw[first + start * size : first + (start + layers) * size]
    return raw[:at] + struct.pack("<IIQ", kind, element, layers) + elements


def _copy(
    header: GgufHeader, tensors: list[TensorInfo], layout: Layout, target: BinaryIO, report: Callable[[int, int], None]
) -> None:
    files = [path.open("rb") for path in header.files]
    try:
        for tensor, place in zip(tensors, layout.tensors, strict=True):
            target.write(bytes(place.offset - target.tell()))
            source, left = files[tensor.part], tensor.bytes
            source.seek(tensor.offset)
            while left:
                chunk = source.read(min(left, CHUNK_BYTES))
                if not chunk:
                    raise ModelError(f"{header.files[tensor.part]} was cut short while it was copied")
                target.write(chunk)
                left -= len(chunk)
                report(target.tell(), layout.file_bytes)
    finally:
        for file in files:
            file.close()
