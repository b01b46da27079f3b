"""Rows of published measurements as questions to the speed model: which scene, which placement, what was measured.

A row is taken at its word: machine, model, file size, placement, flags, threads, cache type and depth are what it
states. What it leaves open has the engine's default. A row that cannot be asked has `why_not`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from app.hardware.coefficients import shipped_coefficients
from app.solver.coefficients import Coefficients
from app.solver.plan import Parameters, Placement
from app.solver.scene import Scene
from tests.benchmarks.rows.machine import machine_of
from tests.benchmarks.rows.model import shape_of
from tests.benchmarks.rows.parameters import engine_of, parameters_of
from tests.benchmarks.rows.placement import Unplaced, placement_of, stated_class
from tests.benchmarks.rows.source import Cells, cell, number, read_cells

CLASSES = ("unified", "hybrid", "all_gpu", "cpu_only", "ktransformers", "experts_igpu", "layers_split", "remote")
_NO_DRAFT = ("", "none", "no", "off", "false", "0")


@dataclass(frozen=True)
class Row:
    """One measurement, ready to be predicted."""

    id: str
    machine_key: str
    """The host: host, GPU and author."""
    placement_class: str
    """One of `CLASSES`."""
    cells: Cells
    scene: Scene | None
    placement: Placement | None
    parameters: Parameters | None
    context: int
    """Tokens in the cache."""
    prompt_tokens: int
    batch: int
    """Sequences decoded at once."""
    decode_tps: float | None
    prefill_tps: float | None
    why_not: str = ""
    """Why it cannot be predicted."""

    @property
    def fit_class(self) -> str:
        """`A` clean, `B` with a caveat, `X` kept as a cliff; `A` where the file does not say."""
        return self.cells.get("fit_class") or "A"

    @property
    def prefill_depth(self) -> int:
        """Tokens in the cache before the prompt; a server's row has the prompt's own length as its depth."""
        depth = int(number(self.cells.get("context_depth", "")) or 0)
        return 0 if depth == self.prompt_tokens and self.prompt_tokens % 256 else depth

    @property
    def group(self) -> str:
        """Machines of the same silicon: what leaving one hardware group out leaves out."""
        return hardware_group(self.cells)


def read_rows(path: Path, coefficients: Coefficients | None = None) -> list[Row]:
    """All rows of a file.

    Args:
        path: a CSV file.
        coefficients: the constants of the scenes; those that ship by default.

    Raises:
        OSError: the file cannot be read.
    """
    constants = coefficients or shipped_coefficients()
    return [row_of(cells, index, constants) for index, cells in enumerate(read_cells(path), start=1)]


def row_of(cells: Cells, index: int, coefficients: Coefficients) -> Row:
    """One line as a question; never raises on what a line holds."""
    scene, placement, parameters, why = None, None, None, ""
    context = int(number(cells.get("context_depth", "")) or 0) or 128
    try:
        shape = shape_of(cells)
        machine = machine_of(cells)
        if shape is None:
            raise Unplaced(f"the model {cells.get('model') or '(none)'} is not known")
        parameters = parameters_of(cells, machine, context)
        scene = Scene(machine, shape, coefficients, engine_of(cells))
        placement = placement_of(cells, machine, shape)
    except Unplaced as error:
        why = str(error)
    except (ValueError, KeyError, IndexError, TypeError, ZeroDivisionError, AttributeError) as error:
        why = f"the row cannot be read ({type(error).__name__}: {error})"
    batch = int(number(cells.get("batch", "")) or 1)
    return Row(
        id=cells.get("id") or str(index),
        machine_key=cell(cells, "machine", "gpu", "cpu") or "unnamed",
        placement_class=class_of(cells),
        cells=cells,
        scene=scene,
        placement=placement,
        parameters=parameters,
        context=context,
        prompt_tokens=int(number(cells.get("prompt_tokens", "")) or 512),
        batch=batch,
        decode_tps=number(cell(cells, "tg_num", "tg_tps")),
        prefill_tps=number(cell(cells, "pp_num", "pp_tps")),
        why_not=why,
    )


def class_of(cells: Cells) -> str:
    """The class of placement that figures are given by."""
    stated = cells.get("placement_class", "")
    if not stated and cells.get("placement"):
        stated = stated_class(cells["placement"])
    if "ktransformers" in cells.get("runtime", "").lower():
        return "ktransformers"
    if "RPC" in cells.get("machine", "") or "--rpc" in cells.get("flags", ""):
        return "remote"
    if stated.startswith("hybrid"):
        return "hybrid"
    return stated if stated in CLASSES else "hybrid"


_GROUPS = (
    (r"strix halo|ai max\+? ?395|ai halo|8060s", "Strix Halo"),
    (r"gb10", "GB10"),
    (r"9355", "EPYC 9355"),
    (r"qyfs", "Xeon QYFS"),
    (r"79[67]5wx", "TR PRO 79x5WX"),
    (r"39[59]5wx|39x5wx", "TR PRO 39x5WX"),
    (r"7950x", "Ryzen 7950X"),
    (r"6454s|8488c", "Xeon SPR (KT)"),
    (r"6138", "Xeon 6138"),
    (r"geerling", "geerling PCs"),
    (r"10900x", "i9-10900X"),
)


def hardware_group(cells: Cells) -> str:
    """Machines of the same silicon under one name."""
    text = f"{cells.get('machine', '')} {cells.get('cpu', '')} {cells.get('gpu', '')}".lower()
    return next((name for pattern, name in _GROUPS if re.search(pattern, text)), cells.get("machine", ""))


def is_drafted(cells: Cells) -> bool:
    """Whether tokens were drafted: such a row measures the drafts too."""
    return cells.get("spec_decode", "").lower() not in _NO_DRAFT
