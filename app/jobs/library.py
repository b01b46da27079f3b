"""The library job: the model files that lie about, the models that are described, and what each would come to here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from app.errors import ModelError, UsageError
from app.jobs.board import BoardRow, board
from app.jobs.checking import known_machine
from app.models.catalog import find_spec, model_names
from app.models.gguf import read_header
from app.models.places import Place, find_files, model_places
from app.models.shape import planned_shape, shape_of
from app.solver.model import ModelShape, Policy, Workload
from detectors.facts import Machine

SCHEMA = "moetune.models/1"
_NO_MODELS = ("clip", "adapter")
"""Architectures of files that go beside a model."""
_OWN = "demo"


@dataclass(frozen=True, slots=True)
class LibraryRow:
    """One model."""

    kind: Literal["file", "described"]
    model: str
    """What `moetune plan` takes: a path or an id."""
    name: str
    place: str
    """The folder that was searched; empty for a model that is only described."""
    architecture: str
    quantization: str
    file_bytes: int
    verdict: BoardRow | None
    """What it would come to on this machine; None where it cannot be planned."""
    problem: str | None = None
    """Why it cannot."""
    devices: tuple[str, ...] = ()
    """Those that it would be on, attention first."""


@dataclass(frozen=True, slots=True)
class Library:
    """All models, and what they are judged for."""

    schema: str
    machine: str
    """Its processor and GPUs."""
    workload: Workload
    rows: tuple[LibraryRow, ...]


def library(folders: Sequence[Path] = (), *, workload: Workload | None = None, capture: str | None = None) -> Library:
    """Every model file and every described model with its verdict on this machine.

    Args:
        folders: more places to look for files.
        workload: what to judge for; `None`: the usual one.
        capture: a captured machine in place of this one.

    Raises:
        UsageError: one of the folders is none, or the capture cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder.", hint="Give folders that hold .gguf files.")
    asked = workload or Workload()
    machine = known_machine(capture)
    places = (*(Place(str(folder), folder) for folder in folders), *model_places())
    rows = [*_files(places), *_described()]
    shapes = [(row.model, shape) for row, shape in rows if shape is not None]
    if not machine.devices:  # an empty capture: there is nothing to judge for
        shapes = []
    verdicts = {row.model: row for row in board(machine, shapes, asked, Policy())}
    labels = [device.label for device in machine.devices]
    judged = (_judged(row, verdicts.get(row.model), labels) for row, _ in rows)
    return Library(SCHEMA, machine_text(machine), asked, tuple(judged))


def machine_text(machine: Machine) -> str:
    """`Ryzen AI Max+ 395, Radeon 8060S, Radeon PRO W7900`."""
    names = [device.label for device in machine.devices if device.kind in ("igpu", "dgpu")]
    return ", ".join((machine.cpu.model if machine.cpu and machine.cpu.model else "CPU", *names))


def _judged(row: LibraryRow, verdict: BoardRow | None, labels: Iterable[str]) -> LibraryRow:
    """The row with its verdict and the devices that the verdict's placement names."""
    text = verdict.placement if verdict else ""
    named = sorted((label for label in dict.fromkeys(labels) if label in text), key=text.index)
    return replace(row, verdict=verdict, devices=tuple(named))


def _files(places: Iterable[Place]) -> Iterator[tuple[LibraryRow, ModelShape | None]]:
    for place, path in find_files(places):
        name = str(path.relative_to(place.path))
        try:
            header = read_header(path)
            if header.architecture in _NO_MODELS or header.metadata.get("general.type") in _NO_MODELS:
                continue
            shape = shape_of(header)
        except ModelError as error:
            yield LibraryRow("file", str(path), name, str(place.path), "", "", _size(path), None, error.message), None
            continue
        yield (
            LibraryRow("file", str(path), name, str(place.path), shape.architecture, shape.quantization,
                       shape.file_bytes, None),
            shape,
        )  # fmt: skip


def _described() -> Iterator[tuple[LibraryRow, ModelShape]]:
    for name in model_names():
        if name == _OWN:
            continue
        shape = planned_shape(find_spec(name))
        row = LibraryRow(
            "described", name, shape.name, "", shape.architecture, shape.quantization, shape.file_bytes, None
        )
        yield row, shape


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
