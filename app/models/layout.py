"""Lays out a GGUF v3 file: the header's bytes, and where every tensor will lie."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.models.architectures import TensorPlan, metadata_of, tensors_of
from app.models.ggml_types import TYPES_BY_NAME
from app.models.gguf import DEFAULT_ALIGNMENT, MAGIC, GgufHeader, TensorInfo
from app.models.spec import ModelSpec

VERSION = 3
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
"""Value type codes of the GGUF specification."""
_ARRAY_TYPES = {"i": _I32, "Q": 10}


@dataclass(frozen=True, slots=True)
class Layout:
    """A file before its tensor data is written."""

    header: bytes
    """Everything before the tensor data, padded."""
    tensors: tuple[TensorInfo, ...]
    file_bytes: int


def lay_out(metadata: Mapping[str, object], plans: Sequence[TensorPlan]) -> Layout:
    """Encode metadata and tensor table, and give each tensor its place.

    Args:
        metadata: bool, int (as u32), float (as f32), str, sequences of bool, int (as i32)
            or str, `array("i")` or `array("Q")` (as u64).
        plans: the tensors in file order.
    """
    return lay_out_entries([entry(key, value) for key, value in metadata.items()], plans)


def entry(key: str, value: object) -> bytes:
    """One key with its value, as it stands in a header."""
    return _text(key) + _value(value)


def lay_out_entries(
    entries: Sequence[bytes], plans: Sequence[TensorPlan], alignment: int = DEFAULT_ALIGNMENT
) -> Layout:
    """The same, of metadata that is encoded already.

    Args:
        entries: each a key with its value.
        plans: the tensors in file order.
        alignment: `general.alignment`, a power of two.
    """
    rows, offset = [], 0
    placed: list[tuple[TensorPlan, int, int]] = []
    for plan in plans:
        kind = TYPES_BY_NAME[plan.type_name]
        size = bytes_of(plan)
        shape = struct.pack(f"<I{len(plan.shape)}Q", len(plan.shape), *plan.shape)
        rows.append(_text(plan.name) + shape + struct.pack("<IQ", kind.number, offset))
        placed.append((plan, offset, size))
        offset = aligned(offset + size, alignment)
    header = MAGIC + struct.pack("<IQQ", VERSION, len(plans), len(entries)) + b"".join((*entries, *rows))
    header += bytes(aligned(len(header), alignment) - len(header))
    tensors = tuple(
        TensorInfo(plan.name, plan.type_name, plan.shape, len(header) + start, size) for plan, start, size in placed
    )
    return Layout(header, tensors, len(header) + offset)


def planned_header(spec: ModelSpec) -> GgufHeader:
    """The header that a file of this spec would have, without a file: for models that are not downloaded.

    Nothing is encoded, so tensors have sizes and no places.

    Raises:
        UsageError: the architecture's tensors are not described.
    """
    tensors = tuple(TensorInfo(plan.name, plan.type_name, plan.shape, 0, bytes_of(plan)) for plan in tensors_of(spec))
    size = sum(aligned(tensor.bytes) for tensor in tensors)
    return replace(empty_header(spec, size), tensors=tensors)


def empty_header(spec: ModelSpec, file_bytes: int) -> GgufHeader:
    """A header of this spec's metadata, without a tensor table."""
    return GgufHeader(Path(f"{spec.id}.gguf"), VERSION, metadata_of(spec), (), 0, file_bytes, ())


def bytes_of(plan: TensorPlan) -> int:
    """What a tensor takes."""
    return TYPES_BY_NAME[plan.type_name].row_bytes(math.prod(plan.shape))


def aligned(position: int, alignment: int = DEFAULT_ALIGNMENT) -> int:
    """The next place where a tensor may begin."""
    return -(-position // alignment) * alignment


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", _BOOL, value)
        case int():
            return struct.pack("<II", _U32, value)
        case float():
            return struct.pack("<If", _F32, value)
        case str():
            return struct.pack("<I", _STRING) + _text(value)
        case array():
            return struct.pack("<IIQ", _ARRAY, _ARRAY_TYPES[value.typecode], len(value)) + value.tobytes()
        case (bool(), *_):
            return struct.pack(f"<IIQ{len(value)}?", _ARRAY, _BOOL, len(value), *value)
        case (int(), *_):
            return struct.pack(f"<IIQ{len(value)}i", _ARRAY, _I32, len(value), *value)
        case list() | tuple():
            return struct.pack("<IIQ", _ARRAY, _STRING, len(value)) + _texts(value)
    raise TypeError(f"GGUF metadata cannot hold a {type(value).__name__}")


def _texts(texts: Iterable[str]) -> bytes:
    return b"".join(map(_text, texts))
