"""The header reader agrees with the reference reader, and says plainly what is wrong with a file."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import gguf
import numpy
import pytest

from app.errors import ModelError
from app.models.catalog import find_spec
from app.models.ggml_types import GGML_TYPES
from app.models.gguf import ArraySkipped, read_header
from app.models.slices import write_slice, write_sparse
from tests.models.files import tiny_layout, tiny_spec, write_bytes, write_tiny
from tests.models.test_engine_loads import MODELS, tiny

DISAGREED = {"Q8_1"}
"""The gguf package says 40 bytes; llama.cpp's static_assert says 36, and no file has such tensors."""


def same_as_reference(path: Path) -> None:
    ours = read_header(path)
    reference = gguf.GGUFReader(path)
    assert [(t.name, t.type_name, t.shape, t.offset, t.bytes) for t in ours.tensors] == [
        (t.name, t.tensor_type.name, tuple(map(int, t.shape)), int(t.data_offset), int(t.n_bytes))
        for t in reference.tensors
    ]
    fields = {name: field for name, field in reference.fields.items() if not name.startswith("GGUF.")}
    assert list(ours.metadata) == list(fields)
    for name, value in ours.metadata.items():
        if isinstance(value, ArraySkipped):
            assert value.length == len(fields[name].data)
        else:
            expected = fields[name].contents()
            assert value == (tuple(expected) if isinstance(expected, list) else expected)


def test_a_written_slice_reads_as_the_reference_reader_reads_it(tmp_path: Path) -> None:
    write_slice(tiny_spec(), tmp_path / "tiny.gguf")
    same_as_reference(tmp_path / "tiny.gguf")


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture_reads_as_the_reference_reader_reads_it(tmp_path: Path, name: str) -> None:
    write_sparse(replace(tiny(name), quantization="Q4_K_M"), tmp_path / "sparse.gguf")
    same_as_reference(tmp_path / "sparse.gguf")


def test_a_file_of_every_value_type_reads_as_the_reference_reader_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "values.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_custom_alignment(64)
    writer.add_uint8("v.u8", 255)
    writer.add_int8("v.i8", -128)
    writer.add_uint16("v.u16", 65535)
    writer.add_int16("v.i16", -32768)
    writer.add_int32("v.i32", -(2**31))
    writer.add_uint64("v.u64", 2**64 - 1)
    writer.add_int64("v.i64", -(2**63))
    writer.add_float32("v.f32", 0.5)
    writer.add_float64("v.f64", 0.1)
    writer.add_bool("v.bool", True)
    writer.add_string("v.text", "Grüße 漢字")
    writer.add_array("v.numbers", list(range(48)))
    writer.add_array("v.flags", [True, False, True])
    writer.add_array("v.texts", ["a", "", "ccc"])
    writer.add_array("v.many", list(range(5000)))
    writer.add_tensor("token_embd.weight", numpy.ones((3, 32), numpy.float32))
    writer.add_tensor("odd.weight", numpy.ones(7, numpy.float16))
    writer.add_tensor("four", numpy.ones((2, 3, 4, 5), numpy.int8))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    same_as_reference(path)
    metadata = read_header(path).metadata
    assert metadata["v.flags"] == (True, False, True)
    assert metadata["v.texts"] == ArraySkipped("string", 3)
    assert metadata["v.many"] == ArraySkipped("i32", 5000)


def test_block_sizes_are_those_of_the_reference() -> None:
    for number, (elements, size) in gguf.constants.GGML_QUANT_SIZES.items():
        ours = GGML_TYPES[int(number)]
        assert ours.name == number.name
        if ours.name not in DISAGREED:
            assert (ours.block_elements, ours.block_bytes) == (elements, size)


def test_a_large_vocabulary_is_stepped_over(tmp_path: Path) -> None:
    write_sparse(find_spec("gpt-oss-120b"), tmp_path / "large.gguf")
    header = read_header(tmp_path / "large.gguf")
    assert header.metadata["tokenizer.ggml.tokens"] == ArraySkipped("string", 201088)


def refused(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert caught.value.hint
    return caught.value


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert f"There is no file {tmp_path / 'none.gguf'}" in refused(tmp_path / "none.gguf").message


def test_a_folder_is_said_to_be_one_and_its_model_is_pointed_at(tmp_path: Path) -> None:
    write_tiny(tmp_path / "inside.gguf")
    error = refused(tmp_path)
    assert "is a folder" in error.message
    assert "inside.gguf" in error.hint


def test_an_empty_file_is_said_to_be_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    assert "is empty" in refused(tmp_path / "empty.gguf").message


def test_another_format_is_said_not_to_be_gguf(tmp_path: Path) -> None:
    for content in (b"PK\x03\x04 a zip file", b"GG", b"ggml" + bytes(100)):
        path = write_bytes(tmp_path / "other.gguf", content, len(content))
        assert "is not a GGUF file" in refused(path).message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_says_why(tmp_path: Path) -> None:
    write_tiny(tmp_path / "secret.gguf").chmod(0)
    assert "Permission denied" in refused(tmp_path / "secret.gguf").message


def test_a_path_that_runs_through_a_file_says_why(tmp_path: Path) -> None:
    write_tiny(tmp_path / "file.gguf")
    assert "Not a directory" in refused(tmp_path / "file.gguf" / "deeper.gguf").message


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "not a regular file" in refused(tmp_path / "pipe.gguf").message


def test_a_link_to_itself_says_why(tmp_path: Path) -> None:
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    assert "symbolic links" in refused(tmp_path / "loop.gguf").message


def test_a_path_with_a_nul_is_refused(tmp_path: Path) -> None:
    assert "cannot be read" in refused(Path(f"{tmp_path}/a\0b.gguf")).message


@pytest.mark.parametrize(
    ("version", "said"),
    [(0x03000000, "big-endian"), (1, "version 1"), (4, "version 4"), (0, "version 0")],
)
def test_another_version_or_byte_order_is_named(tmp_path: Path, version: int, said: str) -> None:
    content = b"GGUF" + struct.pack("<IQQ", version, 0, 0)
    assert said in refused(write_bytes(tmp_path / "other.gguf", content, 100)).message


def test_missing_tensor_bytes_are_counted(tmp_path: Path) -> None:
    layout = tiny_layout()
    last = layout.tensors[-1]
    end = last.offset + last.bytes
    write_bytes(tmp_path / "whole.gguf", layout.header, end)
    assert len(read_header(tmp_path / "whole.gguf").tensors) == len(layout.tensors)
    error = refused(write_bytes(tmp_path / "cut.gguf", layout.header, end - 123))
    assert f"cut short by 123 of {end} bytes, from {last.name} on" in error.message


def test_a_header_cut_anywhere_is_refused(tmp_path: Path) -> None:
    header = tiny_layout().header
    path = tmp_path / "cut.gguf"
    for length in [*range(1, 400), *range(400, len(header), 97)]:
        path.write_bytes(header[:length])
        refused(path)
