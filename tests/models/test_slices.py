"""Slices: written whole or not at all, the same from the same seed, and loaded by the real engine."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import BusyError, ModelError, UsageError
from app.models import new_file as new_file_module
from app.models.catalog import find_spec
from app.models.gguf import read_header
from app.models.layout import planned_header
from app.models.quantization import MIXTURES, Mixture
from app.models.shape import planned_shape, shape_of
from app.models.slices import sliced, write_slice, write_sparse
from app.models.weights import RECIPES
from app.units import GIB, MIB
from tests.models.files import tiny_spec

CHILD = Path(__file__).with_name("generate.py")
needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.gguf", "two.gguf", "other.gguf"))
    write_slice(tiny_spec(), one, seed=7)
    write_slice(tiny_spec(), two, seed=7)
    write_slice(tiny_spec(), other, seed=8)
    assert digest(one) == digest(two) != digest(other)


def test_a_slice_keeps_the_shapes_and_says_what_it_is(tmp_path: Path) -> None:
    spec = find_spec("demo")
    report = write_slice(spec, tmp_path / "two.gguf", layers=2)
    part, whole = shape_of(read_header(report.path)), shape_of(planned_header(spec))
    assert part.layers == whole.layers[:2]
    assert part.head_bytes == whole.head_bytes
    assert part.name == "moetune demo (slice: 2 of 12 layers)"
    assert (report.file_bytes, report.spec.full_layers) == (report.path.stat().st_size, 12)


def test_a_slice_of_a_model_with_dense_layers_in_front_has_experts() -> None:
    spec = find_spec("deepseek-v3:Q8_0")
    assert spec.dense_lead == 3
    two = sliced(spec, layers=2)
    assert [bool(layer.expert_bytes) for layer in planned_shape(two).layers] == [True, True]
    assert planned_shape(two).layers == planned_shape(spec).layers[3:5]
    nearly_all = sliced(spec, layers=60)
    assert [bool(layer.expert_bytes) for layer in planned_shape(nearly_all).layers[:3]] == [False, False, True]
    patterned = sliced(find_spec("kimi-linear-48b-a3b"), layers=4)
    assert patterned.pattern == "kk*k"


def test_a_slice_without_experts_is_refused() -> None:
    with pytest.raises(UsageError, match="no experts in its first 1 layers") as caught:
        sliced(find_spec("llama-4-maverick"), layers=1)
    assert "Give 2 layers or more" in caught.value.hint
    with pytest.raises(UsageError, match="no experts"):
        sliced(find_spec("nemotron-3-super-120b"), layers=1)


def test_a_slice_of_states_without_attention_is_refused() -> None:
    with pytest.raises(UsageError, match="no attention in its first 3 layers") as caught:
        sliced(find_spec("qwen3-next-80b-a3b"), layers=3)
    assert "Give 4 layers or more" in caught.value.hint
    assert sliced(find_spec("qwen3-next-80b-a3b"), layers=4).layers == 4


def test_fewer_experts_and_tokens_are_written(tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    write_slice(find_spec("demo"), path, layers=1, experts=8, vocabulary=1000)
    shape = shape_of(read_header(path))
    assert (shape.expert_count, shape.expert_used, shape.vocabulary) == (8, 4, 1000)


@pytest.mark.parametrize(
    ("layers", "experts", "vocabulary"),
    [(0, None, None), (13, None, None), (None, 3, None), (None, 33, None), (None, None, 100)],
)
def test_more_or_less_than_the_model_can_have_is_refused(
    tmp_path: Path, layers: int | None, experts: int | None, vocabulary: int | None
) -> None:
    with pytest.raises(UsageError, match="is not a possible number"):
        write_slice(find_spec("demo"), tmp_path / "none.gguf", layers=layers, experts=experts, vocabulary=vocabulary)
    assert not list(tmp_path.iterdir())


def test_the_demo_has_the_size_that_was_promised() -> None:
    assert 200 * MIB < planned_header(find_spec("demo")).file_bytes < 400 * MIB


def test_progress_rises_to_the_whole(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = write_slice(
        find_spec("demo"), tmp_path / "two.gguf", layers=2, on_progress=lambda *step: seen.append(step)
    )
    assert len(seen) > 5
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (report.file_bytes, report.file_bytes)


def test_a_write_that_fails_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_text("old")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_slice(find_spec("demo"), path, layers=1, on_progress=stop)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.gguf"]
    assert path.read_text() == "old"


def test_a_disk_without_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_file_module, "SPARE_BYTES", shutil.disk_usage(tmp_path).free)
    with pytest.raises(ModelError, match=r"free, the file needs"):
        write_slice(tiny_spec(), tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="cannot be written"):
        write_slice(tiny_spec(), tmp_path / "file" / "model.gguf")
    with pytest.raises(ModelError, match="Is a directory"):
        write_slice(tiny_spec(), tmp_path)


def test_two_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    with new_file_module.new_file(path, 10) as file:
        file.write(b"mine")
        with pytest.raises(BusyError):
            write_slice(tiny_spec(), path)
    assert path.read_bytes() == b"mine"


def test_a_draft_left_by_a_kill_is_written_over(tmp_path: Path) -> None:
    (tmp_path / ".model.gguf.partial").write_bytes(b"x" * 1_000_000)
    report = write_slice(tiny_spec(), tmp_path / "model.gguf")
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.gguf"]
    assert report.path.stat().st_size == report.file_bytes


def test_a_sparse_file_has_the_true_length_and_next_to_no_blocks(tmp_path: Path) -> None:
    report = write_sparse(find_spec("gpt-oss-120b"), tmp_path / "sparse.gguf")
    status = os.stat(report.path)
    assert status.st_size == report.file_bytes > 59 * GIB
    assert status.st_blocks * 512 < 20 * MIB
    assert shape_of(read_header(report.path)).layers == shape_of(planned_header(report.spec)).layers


def generated(path: Path) -> dict[str, object]:
    """What llama.cpp makes of the file, in a process of its own: a failed assertion there ends the process."""
    done = subprocess.run([sys.executable, CHILD, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@needs_engine
def test_the_demo_generates_words_with_llama_cpp(tmp_path: Path) -> None:
    write_slice(find_spec("demo"), tmp_path / "demo.gguf")
    answer = generated(tmp_path / "demo.gguf")
    assert answer["finite"]
    assert 0.5 < float(str(answer["spread"])) < 10.0
    assert answer["round_trip"]
    assert answer["tokens"] == 32
    words = str(answer["text"]).split()
    assert len(words) > 8
    assert all(word.isalpha() and word.isascii() for word in words)
    assert len(set(words)) > len(words) // 2  # not one word over and over
    assert "<|start|>user\nhi<|end|>" in str(answer["template"])


@needs_engine
@pytest.mark.parametrize("kind", ["F16", "BF16", *RECIPES])
def test_weights_of_every_type_stay_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(MIXTURES, "PURE", Mixture(0, kind, kind))
    spec = replace(
        find_spec("qwen3-30b-a3b"),
        layers=2,
        d_model=256,
        vocabulary=1024,
        heads=4,
        kv_heads=2,
        key_length=64,
        value_length=64,
        experts=8,
        experts_used=2,
        expert_ff=256,
        quantization="PURE",
    )
    write_slice(spec, tmp_path / "typed.gguf")
    answer = generated(tmp_path / "typed.gguf")
    assert answer["finite"]
    assert 1.0 < float(str(answer["spread"])) < 6.0  # 3 is aimed at; wrong scales miss it by far


def test_a_type_that_cannot_be_made_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIXTURES, "NVFP4", Mixture(39, "Q8_0", "Q8_0", stacked="NVFP4"))
    with pytest.raises(UsageError, match="NVFP4 cannot be written"):
        write_slice(replace(tiny_spec(), quantization="NVFP4"), tmp_path / "none.gguf")
    assert not list(tmp_path.iterdir())
