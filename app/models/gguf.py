"""Reads the header of a GGUF file: metadata, tensor table, and where each tensor's bytes lie.

Tensor data is never touched, and tokenizer tables are stepped over, so a 60 GB split model takes milliseconds.
The file may be hostile: every count and length is checked against the file's size before it is used, and
whatever is wrong comes out as a `ModelError` that says what.
"""

from __future__ import annotations

import mmap
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.errors import ModelError
from app.models.cursor import ArraySkipped, Cursor
from app.models.ggml_types import GGML_TYPES, REMOVED_TYPES

__all__ = ["ArraySkipped", "GgufHeader", "TensorInfo", "read_header", "read_part"]

MAGIC = b"GGUF"
DEFAULT_ALIGNMENT = 32
MAX_KEYS = 65_536
MAX_TENSORS = 262_144
"""Kimi-K2's files have about 1100; legacy one-tensor-per-expert files stay under 50,000."""
MAX_KEY_BYTES = 65_535
MAX_NAME_BYTES = 63
"""GGML_MAX_NAME is 64 with the closing NUL."""
MAX_DIMENSIONS = 4
_INT64_MAX = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table."""

    name: str
    type_name: str
    """Such as `F32`, `Q8_0`, `MXFP4`."""
    shape: tuple[int, ...]
    """Elements per dimension in ggml's order: the row length first."""
    offset: int
    """Where its data begins, in bytes from the start of its file."""
    bytes: int
    part: int = 0
    """Which of `GgufHeader.files` holds it."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What a GGUF file says about itself."""

    path: Path
    """The file, or the first part of a split model."""
    version: int
    metadata: dict[str, object]
    """Numbers, strings, booleans and short tuples; `ArraySkipped` for what was stepped over."""
    tensors: tuple[TensorInfo, ...]
    data_offset: int
    """Where tensor data begins in the (first) file."""
    file_bytes: int
    """Of all parts together."""
    files: tuple[Path, ...]
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Where each key's entry lies in the (first) file: from its name to the end of its value."""

    @property
    def architecture(self) -> str:
        """`general.architecture`, empty where the file has none."""
        name = self.metadata.get("general.architecture")
        return name if isinstance(name, str) else ""


def read_header(path: str | Path) -> GgufHeader:
    """Read a model's header, following a split model to all of its parts.

    Raises:
        ModelError: the path is missing, a folder, unreadable, not a GGUF, cut short, damaged, of another byte
            order or version, or a part of it is missing.
    """
    from app.models.split import read_parts

    first = read_part(Path(path))
    count = first.metadata.get("split.count")
    return read_parts(first, count) if isinstance(count, int) and count > 1 else first


def read_part(path: Path) -> GgufHeader:
    """Read one file's header, whether or not it is a part of a split model.

    Raises:
        ModelError: as for `read_header`.
    """
    size = _checked_size(path)
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped,
            memoryview(mapped) as view,
        ):
            return _parse(Cursor(view, path))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="Check the file's permissions and that its disk is mounted.",
        ) from error


def _checked_size(path: Path) -> int:
    """The size of a regular file that is not empty."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise ModelError(
            f"There is no file {path}", hint="Give the path of a .gguf file, or a name that `moetune models` lists."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="Check the path and the permissions of its folders.",
        ) from error
    if stat.S_ISDIR(status.st_mode):
        raise ModelError(f"{path} is a folder, not a model file", hint=_folder_hint(path))
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{path} is not a regular file", hint="Give the path of a .gguf file.")
    if status.st_size == 0:
        raise ModelError(f"{path} is empty", hint="The download has not begun or has failed; download it again.")
    return status.st_size


def _folder_hint(folder: Path) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.suffix == ".gguf")
    except OSError:
        names = []
    return f"It holds {names[0]}; give that file's path." if names else "Give the path of a .gguf file."


def _parse(cursor: Cursor) -> GgufHeader:
    version = _version(cursor)
    tensor_count = cursor.u64("the number of tensors")
    key_count = cursor.u64("the number of keys")
    if tensor_count > MAX_TENSORS or key_count > MAX_KEYS:
        raise cursor.damaged(f"it claims {tensor_count} tensors and {key_count} keys")
    metadata: dict[str, object] = {}
    spans: dict[str, tuple[int, int]] = {}
    for index in range(key_count):
        began = cursor.position
        key = cursor.name(f"key {index}", MAX_KEY_BYTES)
        if key in metadata:
            raise cursor.damaged(f"the key {key} is there twice")
        metadata[key] = cursor.value(key)
        spans[key] = began, cursor.position
    alignment = _alignment(cursor, metadata)
    rows = [_tensor(cursor, index) for index in range(tensor_count)]
    data_offset = -(-cursor.position // alignment) * alignment if rows else cursor.position
    tensors = _placed(cursor, rows, data_offset, alignment)
    return GgufHeader(cursor.path, version, metadata, tensors, data_offset, cursor.end, (cursor.path,), spans)


def _version(cursor: Cursor) -> int:
    path = cursor.path
    if cursor.end < 4 or bytes(cursor.view[:4]) != MAGIC:
        raise ModelError(
            f"{path} is not a GGUF file: it begins with {bytes(cursor.view[:4])!r}",
            hint="Give a .gguf file; other formats must be converted first (llama.cpp: convert_hf_to_gguf.py).",
        )
    cursor.advance(4, "the magic")
    version = cursor.u32("the version")
    if version and version & 0xFFFF == 0:
        raise ModelError(
            f"{path} is a big-endian GGUF, made for another kind of processor",
            hint="Download the little-endian file; nearly every published one is.",
        )
    if version not in (2, 3):
        raise ModelError(
            f"{path} is GGUF version {version}; versions 2 and 3 are known",
            hint="Download a current conversion of the model." if version < 2 else "Update moetune and llama.cpp.",
        )
    return version


def _alignment(cursor: Cursor, metadata: dict[str, object]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
        raise cursor.damaged(f"general.alignment is {alignment!r}, not a power of two")
    return alignment


def _tensor(cursor: Cursor, index: int) -> TensorInfo:
    """One row of the table; `offset` still counts from the data section."""
    name = cursor.name(f"the name of tensor {index}", MAX_NAME_BYTES)
    dimensions = cursor.u32(f"the shape of {name}")
    if dimensions > MAX_DIMENSIONS:
        raise cursor.damaged(f"{name} has {dimensions} dimensions, at most {MAX_DIMENSIONS} are possible")
    shape = tuple(cursor.u64(f"the shape of {name}") for _ in range(dimensions))
    number = cursor.u32(f"the type of {name}")
    if number in REMOVED_TYPES:
        raise ModelError(
            f"{cursor.path} uses the type {REMOVED_TYPES[number]}, which llama.cpp no longer reads",
            hint="Download a current conversion of the model.",
        )
    if number not in GGML_TYPES:
        raise ModelError(
            f"{cursor.path}: the tensor {name} has the unknown type {number}",
            hint="The file is damaged, or newer than this moetune: update moetune and llama.cpp.",
        )
    entry = GGML_TYPES[number]
    elements = 1
    for extent in shape:
        elements *= extent
    if elements > _INT64_MAX or max(shape, default=0) > _INT64_MAX:
        raise cursor.damaged(f"{name} has the impossible shape {shape}")
    if shape and shape[0] % entry.block_elements:
        raise cursor.damaged(
            f"{name} has rows of {shape[0]}, which {entry.name} blocks of {entry.block_elements} cannot hold"
        )
    offset = cursor.u64(f"the offset of {name}")
    return TensorInfo(name, entry.name, shape or (1,), offset, entry.row_bytes(elements))


def _placed(cursor: Cursor, rows: list[TensorInfo], data_offset: int, alignment: int) -> tuple[TensorInfo, ...]:
    """The rows with offsets from the start of the file, each checked against its neighbours and the file's end.

    Tensors must follow one another as llama.cpp requires it, so they cannot overlap.
    """
    expected = 0
    placed: dict[str, TensorInfo] = {}
    for row in rows:
        if row.name in placed:
            raise cursor.damaged(f"the tensor {row.name} is there twice")
        if row.offset != expected:
            raise cursor.damaged(f"{row.name} lies at offset {row.offset}, not at {expected}")
        start = data_offset + row.offset
        placed[row.name] = TensorInfo(row.name, row.type_name, row.shape, start, row.bytes)
        expected += -(-row.bytes // alignment) * alignment
    tensors = tuple(placed.values())
    needed = max((tensor.offset + tensor.bytes for tensor in tensors), default=0)
    if needed > cursor.end:
        cut = next(tensor for tensor in tensors if tensor.offset + tensor.bytes > cursor.end)
        raise ModelError(
            f"{cursor.path} is cut short by {needed - cursor.end} of {needed} bytes, from {cut.name} on",
            hint="The download is not complete; resume it or download it again.",
        )
    return tensors
