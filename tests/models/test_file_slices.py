"""Slices of real files: the file's own weights, tokenizer and keys, and llama.cpp runs them."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import UsageError
from app.models.architectures import metadata_of, tensors_of
from app.models.file_slices import slice_file
from app.models.gguf import GgufHeader, TensorInfo, read_header
from app.models.layout import lay_out
from app.models.shape import shape_of
from app.models.slices import write_slice
from app.models.vocabulary import tokenizer_metadata
from tests.models.test_engine_loads import load, tiny

needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)
SLICED = (
    "deepseek-v3", "deepseek-v4-flash", "gemma-4-26b-a4b", "glm-4.5-air", "glm-5.2", "gpt-oss-20b", "laguna-xs-2.1",
    "lfm2-8b-a1b", "llama-4-maverick", "mimo-v2-flash", "qwen3.5-35b-a3b",
    "qwen3.8-flash-next", "step-3.5-flash",
)  # fmt: skip


def content(header: GgufHeader, tensor: TensorInfo) -> bytes:
    with header.files[tensor.part].open("rb") as file:
        file.seek(tensor.offset)
        return file.read(tensor.bytes)


def whole(tmp_path: Path, name: str, nextn: int = 0) -> Path:
    path = tmp_path / f"{name}.gguf"
    write_slice(tiny(name, nextn), path)
    return path


@needs_engine
@pytest.mark.parametrize("name", SLICED)
def test_llama_cpp_runs_a_slice_of_a_file(tmp_path: Path, name: str) -> None:
    source = whole(tmp_path, name)
    slice_file(source, tmp_path / "slice.gguf", layers=4)
    part, all_of_it = shape_of(read_header(tmp_path / "slice.gguf")), shape_of(read_header(source))
    start = tiny(name).dense_lead
    assert part.layers == all_of_it.layers[start : start + 4]
    assert part.name.endswith("(slice: 4 of 8 layers)")
    load(tmp_path / "slice.gguf")


@needs_engine
def test_llama_cpp_runs_a_slice_of_a_real_model(tmp_path: Path, gemma: Path) -> None:
    report = slice_file(gemma, tmp_path / "slice.gguf", layers=6)
    assert (report.layers, report.full_layers) == (6, 18)
    source, part = read_header(gemma), read_header(report.path)
    assert part.metadata.keys() == source.metadata.keys()
    assert part.metadata["tokenizer.ggml.tokens"] == source.metadata["tokenizer.ggml.tokens"]
    load(report.path)


def test_weights_are_the_files_own(tmp_path: Path) -> None:
    source = read_header(whole(tmp_path, "deepseek-v3"))
    part = read_header(slice_file(source.path, tmp_path / "slice.gguf", layers=2).path)
    wanted = {tensor.name: tensor for tensor in source.tensors}
    for tensor in part.tensors:
        layer = int(tensor.name.split(".")[1]) if tensor.name.startswith("blk.") else 0
        own = wanted[tensor.name.replace(f"blk.{layer}.", f"blk.{layer + 2}.")]
        assert content(part, tensor) == content(source, own), tensor.name


def test_all_layers_are_the_model_again(tmp_path: Path) -> None:
    source = read_header(whole(tmp_path, "gpt-oss-20b"))
    copy = read_header(slice_file(source.path, tmp_path / "slice.gguf", layers=8).path)
    assert [(t.name, t.type_name, t.shape, t.bytes) for t in copy.tensors] == [
        (t.name, t.type_name, t.shape, t.bytes) for t in source.tensors
    ]
    names = ("general.name",)
    assert {k: v for k, v in copy.metadata.items() if k not in names} == {
        k: v for k, v in source.metadata.items() if k not in names
    }


def test_next_token_layers_are_left_out(tmp_path: Path) -> None:
    source = whole(tmp_path, "glm-4.5-air", nextn=1)
    part = read_header(slice_file(source, tmp_path / "slice.gguf", layers=3).path)
    assert part.metadata["glm4moe.block_count"] == 3
    assert "glm4moe.nextn_predict_layers" not in part.metadata
    assert shape_of(part).nextn_layers == 0


def test_windows_stay_with_their_layers(tmp_path: Path) -> None:
    source = whole(tmp_path, "laguna-xs-2.1")
    part = read_header(slice_file(source, tmp_path / "slice.gguf", layers=5).path)
    assert part.metadata["laguna.attention.sliding_window_pattern"] == (True, True, True, False, True)
    assert part.metadata["laguna.attention.head_count"] == (16, 16, 16, 8, 16)
    assert part.metadata["laguna.leading_dense_block_count"] == 0


def test_a_split_model_becomes_one_file(tmp_path: Path) -> None:
    spec = replace(tiny("qwen3-30b-a3b"), layers=4)
    plans = tensors_of(spec)
    for number, piece in enumerate((plans[:20], plans[20:])):
        keys = {"split.no": number, "split.count": 2, "split.tensors.count": len(plans)}
        first = metadata_of(spec) | tokenizer_metadata(spec.vocabulary) if number == 0 else {}
        layout = lay_out(first | keys, piece)
        path = tmp_path / f"model-{number + 1:05d}-of-00002.gguf"
        path.write_bytes(layout.header)
        with path.open("ab") as file:
            for tensor in layout.tensors:
                file.truncate(tensor.offset)
                file.seek(0, 2)
                file.write(tensor.name.encode().ljust(tensor.bytes, b"."))
            file.truncate(layout.file_bytes)
    source = read_header(tmp_path / "model-00002-of-00002.gguf")
    part = read_header(slice_file(source.path, tmp_path / "slice.gguf", layers=2).path)
    assert not [key for key in part.metadata if key.startswith("split.")]
    assert shape_of(part).layers == shape_of(source).layers[:2]
    for tensor in part.tensors:
        assert content(part, tensor).startswith(tensor.name.encode()[: tensor.bytes])


def test_an_alignment_of_its_own_is_kept(tmp_path: Path) -> None:
    spec = replace(tiny("qwen3-30b-a3b"), layers=2)
    source = tmp_path / "aligned.gguf"
    metadata = metadata_of(spec) | {"general.alignment": 32} | tokenizer_metadata(spec.vocabulary)
    layout = lay_out(metadata, tensors_of(spec))
    source.write_bytes(layout.header.ljust(layout.file_bytes, b"\0"))
    part = read_header(slice_file(source, tmp_path / "slice.gguf", layers=1).path)
    assert part.metadata["general.alignment"] == 32


def test_states_without_attention_are_refused(tmp_path: Path) -> None:
    source = whole(tmp_path, "nemotron-3-super-120b")
    with pytest.raises(UsageError, match="no attention in those 4 layers") as caught:
        slice_file(source, tmp_path / "slice.gguf", layers=4)
    assert "Give 8 or more" in caught.value.hint


@pytest.mark.parametrize("layers", [0, 9])
def test_more_or_less_than_the_model_has_is_refused(tmp_path: Path, layers: int) -> None:
    source = whole(tmp_path, "gpt-oss-20b")
    with pytest.raises(UsageError, match="not a possible number of layers"):
        slice_file(source, tmp_path / "slice.gguf", layers=layers)
    assert not (tmp_path / "slice.gguf").exists()


def test_the_model_itself_is_not_overwritten(tmp_path: Path) -> None:
    source = whole(tmp_path, "gpt-oss-20b")
    before = source.read_bytes()
    with pytest.raises(UsageError, match="is the model itself"):
        slice_file(source, source, layers=2)
    assert source.read_bytes() == before
