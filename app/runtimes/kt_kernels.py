"""Timing KTransformers' CPU kernels where kt-kernel is installed: one layer of experts of a model's shape.

It takes seconds and needs no model: a layer costs what its shape, the method and the threads make it cost.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app.runtimes.bench import BenchRow, lines_of
from app.runtimes.llama_bench import read_row

CONFIGURED = "MOETUNE_KT_PYTHON"
"""Variable that names the Python which kt-kernel is installed for."""

METHODS = ("AMXINT4", "AMXINT8", "BF16")
"""Those of `--kt-method` that take plain weights: the others read files of their own formats."""

LARGEST_WEIGHTS = 768 << 20
"""BF16 bytes of the layer that is made up: beyond the caches, and quick to fill."""

CHILD = Path(__file__).with_name("kt_kernel_child.py")


@dataclass(frozen=True, slots=True)
class KtLayer:
    """The experts of one layer, and how they are to be computed."""

    method: str
    experts: int
    used: int
    hidden: int
    inner: int
    threads: int

    @property
    def resident(self) -> int:
        """How many of the experts are made up: all, or as many as memory should be taken for."""
        fitting = LARGEST_WEIGHTS // (3 * self.hidden * self.inner * 2)
        return max(self.used, min(self.experts, fitting))


def find_python() -> Path | None:
    """The Python that has kt-kernel: the one that is configured, this one, or that of the `kt` on PATH."""
    if configured := os.environ.get(CONFIGURED):
        return Path(configured).expanduser().absolute()
    if find_spec("kt_kernel") is not None:
        return Path(sys.executable)
    script = shutil.which("kt")
    if script is None:
        return None
    try:
        with open(script, "rb") as file:
            first = file.readline(512)
    except OSError:
        return None
    interpreter = first.removeprefix(b"#!").split()[:1]
    path = Path(os.fsdecode(interpreter[0])) if first.startswith(b"#!") and interpreter else None
    return path if path is not None and path.name.startswith("python") and path.is_file() else None


def time_layer(python: Path, layer: KtLayer, *, prompt: int, repetitions: int, limit_s: float) -> Iterator[BenchRow]:
    """Time single tokens, then a prompt; milliseconds per token of one layer.

    Raises:
        EngineFailedError: the kernel refuses the shape, crashed, or is not installed after all.
        TimeLimitError: it took longer than `limit_s` seconds.
    """
    numbers = (layer.resident, layer.used, layer.hidden, layer.inner, layer.threads, prompt, repetitions)
    argv = (str(python), "-P", str(CHILD), layer.method, *map(str, numbers))
    for line in lines_of(argv, limit_s=limit_s):
        if row := read_row(line):
            yield row
