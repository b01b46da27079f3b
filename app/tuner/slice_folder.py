"""A folder for slices that are written to be timed, and gone when the timing is over, however it ends."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from app.models.catalog import find_spec
from app.models.gguf import read_header
from app.models.layout import planned_header
from app.models.shape import shape_of
from app.models.slices import sliced, write_slice
from app.paths import cache_dir, made
from app.solver.model import ModelShape

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a described model: few layers, perhaps fewer experts, a small vocabulary."""

    model: str
    """As `moetune slice` takes it: `gpt-oss-20b`, `qwen3-30b-a3b:Q4_K_M`."""
    layers: int
    experts: int | None = None
    vocabulary: int | None = None

    def shape(self) -> ModelShape:
        """The shape of its file, without the file."""
        spec = sliced(find_spec(self.model), layers=self.layers, experts=self.experts, vocabulary=self.vocabulary)
        return shape_of(planned_header(spec))


class SliceFolder:
    """Writes slices when they are first wanted, and removes them all at the end.

    The folder's name holds this process's id: one that a killed process left behind is removed by the next.
    """

    def __init__(self) -> None:
        self._parent = cache_dir() / "calibration"
        self.path = self._parent / str(os.getpid())
        self._written: dict[Slice, Path] = {}
        self._count = 0

    def __enter__(self) -> SliceFolder:
        for old in self._parent.glob("*"):
            if not _is_running(old.name):
                shutil.rmtree(old, ignore_errors=True)
        made(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, wanted: Slice, on_progress: Progress | None = None) -> Path:
        """The slice's file, written now if it is not there.

        Raises:
            ModelError: there is too little disk space, or the file cannot be written.
            UsageError: the model has no such slice.
        """
        if wanted not in self._written:
            self._count += 1
            path = self.path / f"{self._count}.gguf"
            write_slice(
                find_spec(wanted.model),
                path,
                layers=wanted.layers,
                experts=wanted.experts,
                vocabulary=wanted.vocabulary,
                on_progress=on_progress,
            )
            self._written[wanted] = path
        return self._written[wanted]

    def discard(self, wanted: Slice) -> None:
        """Remove a slice that is no longer wanted, for its disk space."""
        path = self._written.pop(wanted, None)
        if path is not None:
            path.unlink(missing_ok=True)

    def shape(self, wanted: Slice) -> ModelShape:
        """The shape of a slice that was written."""
        return shape_of(read_header(self._written[wanted]))


def _is_running(name: str) -> bool:
    return not name.isdigit() or Path(f"/proc/{name}").exists()
