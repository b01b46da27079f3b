"""Which model a row is of, in which quantization: by the names that the project resolves."""

from __future__ import annotations

import re
from functools import lru_cache

from app.errors import MoetuneError
from app.models.catalog import find_spec
from app.models.names import find_model_name
from app.models.sizing import find_shape, shape_with_quantization
from app.solver.model import ModelShape
from tests.benchmarks.rows.source import Cells, number


def shape_of(cells: Cells) -> ModelShape | None:
    """The model's shape with the bytes that the row's quantization and file size say; `None`: it is not described."""
    gib = number(cells.get("model_file_gib", ""))
    return _shape(
        cells.get("model", ""),
        cells.get("model_family", ""),
        cells.get("arch", ""),
        cells.get("quant", ""),
        round(gib * 2**30) if gib else None,
    )


@lru_cache(maxsize=4096)
def _shape(model: str, family: str, arch: str, quant: str, file_bytes: int | None) -> ModelShape | None:
    inside = re.search(r"\((.*?)(?: class)?\)", model)
    plain = re.sub(r"\s*\(.*?\)", "", model)
    names = [model, plain, inside[1] if inside else "", family, _sized(arch)]
    found = next((hit for name in names if name and (hit := find_model_name(name))), None)
    if found is None:
        return None
    spec = find_spec(found[0])
    for words in (quant, found[1] or "", re.sub(r"\(.*", "", quant)):
        if not words.strip():
            continue
        try:
            return shape_with_quantization(spec, words.strip(), file_bytes)
        except MoetuneError:
            continue
    try:
        return shape_with_quantization(spec, spec.quantization, file_bytes) if file_bytes else find_shape(found[0])
    except MoetuneError:
        return find_shape(found[0])


def _sized(arch: str) -> str:
    """`qwen3moe 30B.A3B` as a name: `qwen3 30B A3B`."""
    return arch.replace("moe", "").replace(".A", "-A")
