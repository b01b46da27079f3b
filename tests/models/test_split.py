"""Models in several files, as the reference writer splits them."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy
import pytest

from app.errors import ModelError
from app.models.gguf import read_header, read_part

PARTS = 3
NAME = "model-{:05d}-of-00003.gguf"


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama", split_max_tensors=2)
    for index in range(2 * PARTS):
        writer.add_tensor(f"t{index}", numpy.full((4, 32), index, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return [tmp_path / NAME.format(index + 1) for index in range(PARTS)]


@pytest.mark.parametrize("given", range(PARTS))
def test_any_part_leads_to_the_whole_model(parts: list[Path], given: int) -> None:
    header = read_header(parts[given])
    assert header.path == parts[0]
    assert header.files == tuple(parts)
    assert header.architecture == "llama"
    assert header.file_bytes == sum(path.stat().st_size for path in parts)
    assert [(tensor.name, tensor.part) for tensor in header.tensors] == [(f"t{i}", i // 2) for i in range(6)]
    for index, tensor in enumerate(header.tensors):
        data = parts[tensor.part].read_bytes()[tensor.offset : tensor.offset + tensor.bytes]
        assert data == numpy.full((4, 32), index, numpy.float32).tobytes()


def test_each_missing_part_is_named(parts: list[Path]) -> None:
    parts[1].unlink()
    parts[2].unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-00003\.gguf, model-00003-of-00003\.gguf is not in"):
        read_header(parts[0])


def test_a_part_that_is_cut_short_is_named(parts: list[Path]) -> None:
    with parts[1].open("r+b") as file:
        file.truncate(parts[1].stat().st_size - 100)
    with pytest.raises(ModelError, match=r"model-00002-of-00003\.gguf is cut short by"):
        read_header(parts[0])


def test_parts_in_the_wrong_order_are_refused(parts: list[Path]) -> None:
    first, second = parts[1].read_bytes(), parts[2].read_bytes()
    parts[1].write_bytes(second)
    parts[2].write_bytes(first)
    with pytest.raises(ModelError, match="does not belong to the other parts"):
        read_header(parts[0])


def test_a_part_of_another_model_is_refused(parts: list[Path], tmp_path: Path) -> None:
    # Part 2 again under the name and number of part 3: its tensors are there twice.
    twin = bytearray(parts[1].read_bytes())
    number = twin.index(b"split.no") + len(b"split.no") + 4
    twin[number : number + 2] = (2).to_bytes(2, "little")
    parts[2].write_bytes(twin)
    assert read_part(parts[2]).metadata["split.no"] == 2
    with pytest.raises(ModelError, match="is in an earlier part too"):
        read_header(parts[0])


def test_a_part_under_another_name_is_refused(parts: list[Path]) -> None:
    renamed = parts[0].rename(parts[0].with_name("mine.gguf"))
    with pytest.raises(ModelError, match="is not named like NAME-00001-of-00003"):
        read_header(renamed)
