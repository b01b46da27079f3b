"""Damaged and hostile headers: a `ModelError` or a success, never another exception, a hang, or much memory."""

from __future__ import annotations

import random
import resource
import struct
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from app.errors import ModelError
from app.models.gguf import read_header
from app.models.shape import shape_of
from tests.models.files import tiny_layout, write_bytes

MUTATIONS = 4000
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
EXTREMES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
HANG_S = 20.0
"""Stepping over what this header claims would take hours."""
MEMORY_LIMIT_BYTES = 32 << 20


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def row(name: bytes, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def gguf(pairs: list[bytes], rows: list[bytes], counts: tuple[int, int] | None = None) -> bytes:
    tensors, keys = counts or (len(rows), len(pairs))
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + b"".join(pairs) + b"".join(rows)


ARRAY_OF = struct.Struct("<IQ")
HOSTILE = {
    "more tensors than memory": gguf([], [], (2**64 - 1, 0)),
    "more keys than memory": gguf([], [], (0, 2**63)),
    "a million keys": gguf([], [], (0, 1_000_000)),
    "a key longer than the file": gguf([struct.pack("<Q", 2**63)], []),
    "an empty key": gguf([pair(b"", 4, bytes(4))], []),
    "a key that is not text": gguf([pair(b"\xff\xfe", 4, bytes(4))], []),
    "the same key twice": gguf([pair(b"a", 4, bytes(4))] * 2, []),
    "an unknown value type": gguf([pair(b"a", 13, bytes(8))], []),
    "an unknown element type": gguf([pair(b"a", 9, ARRAY_OF.pack(99, 1) + bytes(8))], []),
    "an array longer than the file": gguf([pair(b"a", 9, ARRAY_OF.pack(4, 2**62))], []),
    "an array whose size overflows": gguf([pair(b"a", 9, ARRAY_OF.pack(10, 2**61))], []),
    "more strings than the file holds": gguf([pair(b"a", 9, ARRAY_OF.pack(8, 2**60))], []),
    "a string in an array beyond the end": gguf(
        [pair(b"a", 9, ARRAY_OF.pack(8, 2) + text(b"x") + struct.pack("<Q", 2**64 - 9) + bytes(64))], []
    ),
    "nested arrays": gguf([pair(b"a", 9, ARRAY_OF.pack(9, 1) * 1000)], []),
    "a string longer than the file": gguf([pair(b"a", 8, struct.pack("<Q", 2**64 - 1))], []),
    "an alignment of three": gguf([pair(b"general.alignment", 4, struct.pack("<I", 3))], []),
    "an alignment of zero": gguf([pair(b"general.alignment", 4, bytes(4))], []),
    "an alignment that is text": gguf([pair(b"general.alignment", 8, text(b"32"))], []),
    "an alignment beyond the file": gguf(
        [pair(b"general.alignment", 4, struct.pack("<I", 2**31))], [row(b"t", (32,), 0, 0)]
    ),
    "the same tensor twice": gguf([], [row(b"t", (8,), 0, 0), row(b"t", (8,), 0, 32)]),
    "overlapping tensors": gguf([], [row(b"t", (8,), 0, 0), row(b"u", (8,), 0, 0)]),
    "a tensor far away": gguf([], [row(b"t", (8,), 0, 2**63)]),
    "five dimensions": gguf([], [row(b"t", (1, 1, 1, 1, 1), 0, 0)]),
    "a shape that overflows": gguf([], [row(b"t", (2**33, 2**33), 0, 0)]),
    "a dimension below zero": gguf([], [row(b"t", (2**64 - 1, 0), 0, 0)]),
    "half a block": gguf([], [row(b"t", (33,), 8, 0)]),
    "an unknown tensor type": gguf([], [row(b"t", (32,), 77, 0)]),
    "a removed tensor type": gguf([], [row(b"t", (32,), 31, 0)]),
    "an endless tensor name": gguf([], [row(b"n" * 64, (32,), 0, 0)]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path: Path, name: str) -> None:
    path = write_bytes(tmp_path / "hostile.gguf", HOSTILE[name], 4096)
    with pytest.raises(ModelError):
        read_header(path)


def test_a_huge_file_of_hostile_strings_is_refused_at_once(tmp_path: Path) -> None:
    header = gguf([pair(b"a", 9, ARRAY_OF.pack(8, 2**36))], [])
    path = write_bytes(tmp_path / "hostile.gguf", header, 1 << 40)  # a hole of 1 TiB: 2**36 empty strings would fit
    began = time.perf_counter()
    with pytest.raises(ModelError, match="more than any tokenizer"):
        read_header(path)
    assert time.perf_counter() - began < HANG_S


def test_a_huge_value_is_stepped_over_and_not_read(tmp_path: Path) -> None:
    size = 1 << 36
    header = gguf([pair(b"a", 8, struct.pack("<Q", size))], [])
    path = write_bytes(tmp_path / "hostile.gguf", header, size + 4096)
    tracemalloc.start()
    assert "string" in repr(read_header(path).metadata["a"])
    assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
    tracemalloc.stop()


def mutated(chance: random.Random, header: bytes, most: int = 4) -> bytes:
    """The header with a few bytes changed, numbers set to extremes, a piece cut out or doubled."""
    content = bytearray(header)
    for _ in range(chance.randint(1, most)):
        # Most of the header is tokenizer; keys and tensor table are where it hurts.
        at = chance.choice((chance.randrange(1500), chance.randrange(len(content))))
        match chance.randrange(5):
            case 0:
                content[at] = chance.choice(INTERESTING)
            case 1:
                content[at] ^= 1 << chance.randrange(8)
            case 2:
                content[at : at + 8] = struct.pack("<Q", chance.choice(EXTREMES))
            case 3:
                del content[at : at + chance.randint(1, 40)]
            case _:
                content[at:at] = content[at : at + chance.randint(1, 40)]
    return bytes(content)


def outcome(path: Path) -> str:
    """How far a file gets."""
    try:
        header = read_header(path)
    except ModelError:
        return "refused"
    try:
        shape_of(header)
    except ModelError:
        return "read"
    return "shaped"


def test_mutated_headers_are_read_or_refused(tmp_path: Path) -> None:
    layout = tiny_layout()
    path = tmp_path / "mutated.gguf"
    chance = random.Random(20261122)
    before = peak_bytes()
    outcomes: Counter[str] = Counter()
    for _ in range(MUTATIONS):
        write_bytes(path, mutated(chance, layout.header), layout.file_bytes)
        outcomes[outcome(path)] += 1
    assert peak_bytes() - before < MEMORY_LIMIT_BYTES
    assert outcomes["refused"] > MUTATIONS // 4, outcomes
    assert outcomes["read"] > MUTATIONS // 200, outcomes
    assert outcomes["shaped"] > MUTATIONS // 50, outcomes


def peak_bytes() -> int:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
