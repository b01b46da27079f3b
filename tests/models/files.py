"""Small models for the tests: described, written, and made up from nothing but keys and shapes."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from app.models.architectures import TensorPlan, metadata_of, tensors_of
from app.models.catalog import find_spec
from app.models.gguf import GgufHeader
from app.models.layout import Layout, lay_out
from app.models.spec import ModelSpec
from app.models.vocabulary import tokenizer_metadata

MODELS_CSV = Path(__file__).parents[3] / "shared" / "data" / "models.csv"
TINY_VOCABULARY = 600


def tiny_spec() -> ModelSpec:
    """A gpt-oss of two layers that takes about 200 KB."""
    return replace(
        find_spec("demo"),
        layers=2,
        d_model=64,
        vocabulary=TINY_VOCABULARY,
        heads=2,
        kv_heads=1,
        key_length=32,
        value_length=32,
        experts=4,
        experts_used=2,
        expert_ff=64,
    )


@cache
def tiny_layout() -> Layout:
    """The tiny model's header and places."""
    spec = tiny_spec()
    return lay_out(metadata_of(spec) | tokenizer_metadata(spec.vocabulary), tensors_of(spec))


def write_bytes(path: Path, header: bytes, file_bytes: int) -> Path:
    """A file that begins with these bytes and is a hole from there on."""
    with path.open("wb") as file:
        file.write(header)
        file.truncate(file_bytes)
    return path


def write_tiny(path: Path) -> Path:
    """The tiny model without weights."""
    layout = tiny_layout()
    return write_bytes(path, layout.header, layout.file_bytes)


def header_of(
    architecture: str, keys: dict[str, object], tensors: dict[str, tuple[tuple[int, ...], str]]
) -> GgufHeader:
    """A header made up from keys (without their prefix) and tensors, without a file."""
    plans = [TensorPlan(name, shape, "attention", kind) for name, (shape, kind) in tensors.items()]
    layout = lay_out({}, plans)
    metadata = {"general.architecture": architecture} | {f"{architecture}.{key}": value for key, value in keys.items()}
    return GgufHeader(Path("made-up.gguf"), 3, metadata, layout.tensors, 0, layout.file_bytes, ())


def known_model(name: str) -> dict[str, str]:
    """A row of the table of published models; skips where the table is not at hand."""
    if not MODELS_CSV.exists():
        pytest.skip("the table of published models is not beside this checkout")
    with MODELS_CSV.open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["id"] == name]
    return row
