"""Reads GGUF's little-endian values out of a mapped file, and never a byte past its end."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from app.errors import ModelError

MAX_TEXT_BYTES = 1 << 20
"""A single value longer than this is skipped: the longest chat templates take about 100 KiB."""
MAX_KEPT_BYTES = 32 << 20
"""Metadata kept in memory; what comes after is skipped."""
MAX_KEPT_ELEMENTS = 4096
"""Arrays longer than this are skipped; per-layer arrays have at most 512 elements (LLAMA_MAX_LAYERS)."""
MAX_WALKED_STRINGS = 4_000_000
"""Strings stepped over in one file: five times the largest tokenizer known, and under a second."""

STRING, ARRAY = 8, 9
SCALARS: dict[int, struct.Struct] = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
"""Value type code -> layout, as in the GGUF specification."""
TYPE_NAMES = ("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64")
_U32 = SCALARS[4]
_U64 = SCALARS[10]


@dataclass(frozen=True, slots=True)
class ArraySkipped:
    """Stands for a value that was stepped over: tokenizer tables and other long arrays."""

    type: str
    length: int
    """Elements; bytes for a single long string."""


class Cursor:
    """A position in a file, moved forward by what is read."""

    def __init__(self, view: memoryview, path: Path) -> None:
        self.view = view
        self.path = path
        self.end = len(view)
        self.position = 0
        self._kept_bytes = 0
        self._walked = 0

    def damaged(self, what: str) -> ModelError:
        """The error for contents that make no sense."""
        return ModelError(
            f"{self.path} is damaged: {what}",
            hint="Compare its checksum with the publisher's, or download it again.",
        )

    def advance(self, count: int, what: str) -> int:
        """Step over `count` bytes and return where they began."""
        start = self.position
        if count > self.end - start:
            raise ModelError(
                f"{self.path} ends inside {what}: byte {start + count} is needed, it has {self.end}",
                hint="The download is not complete; download it again.",
            )
        self.position = start + count
        return start

    def u32(self, what: str) -> int:
        """Read an unsigned 32-bit number."""
        value: int = _U32.unpack_from(self.view, self.advance(4, what))[0]
        return value

    def u64(self, what: str) -> int:
        """Read an unsigned 64-bit number."""
        value: int = _U64.unpack_from(self.view, self.advance(8, what))[0]
        return value

    def name(self, what: str, limit: int) -> str:
        """Read a key or a tensor's name: UTF-8, not empty, at most `limit` bytes."""
        length = self.u64(what)
        if not 0 < length <= limit:
            raise self.damaged(f"{what} has {length} bytes, 1 to {limit} are allowed")
        start = self.advance(length, what)
        try:
            return str(self.view[start : start + length], "utf-8")
        except UnicodeDecodeError:
            raise self.damaged(f"{what} is not UTF-8") from None

    def value(self, key: str) -> object:
        """Read one metadata value; long ones come back as `ArraySkipped`."""
        kind = self.u32(f"the type of {key}")
        if kind == ARRAY:
            return self._array(key)
        if kind == STRING:
            return self._text(key)
        return self._numbers(kind, 1, key)[0]

    def _keep(self, count: int) -> bool:
        self._kept_bytes += count
        return self._kept_bytes <= MAX_KEPT_BYTES

    def _text(self, key: str) -> object:
        length = self.u64(f"the value of {key}")
        start = self.advance(length, f"the value of {key}")
        if length > MAX_TEXT_BYTES or not self._keep(length):
            return ArraySkipped("string", length)
        return str(self.view[start : start + length], "utf-8", "replace")

    def _layout(self, kind: int, key: str) -> struct.Struct:
        if kind not in SCALARS:
            raise self.damaged(f"{key} has the unknown value type {kind}")
        return SCALARS[kind]

    def _numbers(self, kind: int, count: int, key: str) -> tuple[object, ...]:
        layout = self._layout(kind, key)
        start = self.advance(layout.size * count, f"the value of {key}")
        cells = self.view[start : start + layout.size * count]
        return tuple(cell for (cell,) in layout.iter_unpack(cells))

    def _array(self, key: str) -> object:
        kind = self.u32(f"the element type of {key}")
        count = self.u64(f"the length of {key}")
        if kind == ARRAY:
            raise self.damaged(f"{key} is an array of arrays, which GGUF readers do not accept")
        if kind == STRING:
            return self._strings(count, key)
        size = self._layout(kind, key).size
        if count <= MAX_KEPT_ELEMENTS and self._keep(size * count):
            return self._numbers(kind, count, key)
        self.advance(size * count, f"the value of {key}")
        return ArraySkipped(TYPE_NAMES[kind], count)

    def _strings(self, count: int, key: str) -> ArraySkipped:
        """Step over an array of strings, the one part of a header that is long and has to be walked."""
        if count > (self.end - self.position) // 8:
            raise self.damaged(f"{key} claims {count} strings, more than the file could hold")
        self._walked += count
        if self._walked > MAX_WALKED_STRINGS:
            raise self.damaged(f"{key} claims {count} strings, more than any tokenizer has")
        view, position, unpack = self.view, self.position, _U64.unpack_from
        try:
            for _ in range(count):
                position += 8 + unpack(view, position)[0]
        except (struct.error, OverflowError, IndexError):
            position = self.end + 1
        self.advance(position - self.position, f"the strings of {key}")
        return ArraySkipped("string", count)
