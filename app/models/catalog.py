"""The models that moetune describes: `presets/models/*.toml`, read and checked.

A preset is tables of numbers, with the `source` that they come from: the file's, or a table's own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from app.errors import ModelError, UsageError
from app.models.mechanisms import (
    CompressionSpec,
    IndexerSpec,
    KdaSpec,
    LookupSpec,
    MlaSpec,
    RecurrentSpec,
    StreamSpec,
    YarnSpec,
)
from app.models.quantization import MIXTURES, mixture
from app.models.sense import nonsense
from app.models.spec import ModelSpec
from app.resources import PRESETS

_T = TypeVar("_T")
_FOLDER = PRESETS / "models"
_TOP: dict[str, type] = {"id": str, "name": str, "architecture": str, "quantization": str}
_TABLES: dict[str, tuple[dict[str, type], dict[str, type]]] = {
    "model": (
        {"layers": int, "d_model": int, "vocabulary": int, "context_length": int},
        {
            "feed_forward": int,
            "norm_epsilon": float,
            "tied": bool,
            "nextn": int,
            "nextn_tables": bool,
            "pattern": str,
        },
    ),
    "attention": ({"heads": int, "kv_heads": int, "key_length": int, "value_length": int}, {"rope_base": float}),
    "window": ({"window": int}, {"window_kv_heads": int, "window_heads": int, "window_key_length": int}),
    "yarn": ({"factor": float, "original_context": int}, {}),
    "mla": ({"kv_lora": int, "rope": int, "nope": int, "value": int}, {"q_lora": int}),
    "recurrent": ({"conv_kernel": int}, {"interval": int, "inner": int, "state": int, "groups": int, "heads": int}),
    "kda": ({"conv_kernel": int, "head_length": int}, {}),
    "indexer": ({"index_heads": int, "index_length": int, "top_k": int}, {"pool": int}),
    "streams": ({"streams": int}, {"rank": int}),
    "compression": ({"query_lora": int, "output_groups": int, "output_lora": int}, {}),
    "lookup": ({"table_rows": int, "row_length": int, "rows_read": int, "taps": int}, {}),
    "experts": (
        {"experts": int, "experts_used": int, "expert_ff": int},
        {"shared_experts": int, "shared_ff": int, "dense_lead": int, "moe_step": int, "latent": int},
    ),
}
"""Table -> keys that it needs, keys that it may have; each may have its `source` too."""
_NEEDED = {"model", "attention"}
_GROUPS: dict[str, Callable[..., object]] = {
    "yarn": YarnSpec, "mla": MlaSpec, "recurrent": RecurrentSpec, "kda": KdaSpec, "indexer": IndexerSpec,
    "streams": StreamSpec, "compression": CompressionSpec, "lookup": LookupSpec,
}  # fmt: skip
"""Tables that become an object of their own."""


@lru_cache(maxsize=1)
def model_names() -> tuple[str, ...]:
    """The ids of all described models, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def preset_names() -> dict[str, tuple[str, ...]]:
    """Each preset's id, title and aliases, by id."""
    found = {}
    for name in model_names():
        with (_FOLDER / f"{name}.toml").open("rb") as file:
            data = tomllib.load(file)
        found[name] = (name, str(data.get("name", name)), *_aliases(_FOLDER / f"{name}.toml", data))
    return found


def is_described(name: str) -> bool:
    """Whether this is the name of a described model, however it is written, and not the path of a file."""
    return _preset_of(name) is not None


def find_spec(name: str) -> ModelSpec:
    """A described model by its name: its id (`qwen3-235b-a22b`, `qwen3-235b-a22b:Q6_K`) or what people call it.

    Raises:
        UsageError: there is none of that name, or no such quantization; the hint names what there is.
        ModelError: its preset is damaged.
    """
    found = _preset_of(name)
    if found is None:
        raise UsageError(f"There is no model preset {name!r}", hint=alike(name))
    spec = load_spec(_FOLDER / f"{found[0]}.toml")
    quantization = found[1]
    if not quantization:
        return spec
    chosen = mixture(quantization)
    return replace(spec, quantization=next(key for key, value in MIXTURES.items() if value is chosen))


def _preset_of(words: str) -> tuple[str, str | None] | None:
    """The id of a preset and the words on the quantization."""
    from app.models.names import find_model_name, is_path  # which read all presets; an id needs none of it

    model, _, quantization = words.partition(":")
    if model in model_names():
        return model, quantization or None
    return None if is_path(words) else find_model_name(words)


def alike(name: str) -> str:
    """A hint with the ids that are most like this name."""
    from difflib import get_close_matches  # only needed when something is wrong

    names = model_names()
    close = get_close_matches(name.partition(":")[0].lower(), names, n=8, cutoff=0.4)
    return f"Alike are {', '.join(close)}; " * bool(close) + f"`moetune models` lists all {len(names)}."


def load_spec(path: Path) -> ModelSpec:
    """Read one preset.

    Raises:
        ModelError: unreadable, not TOML, a key that is unknown, missing or of the wrong type, numbers that do
            not fit together, or an `id` that is not the file's name.
    """
    try:
        with path.open("rb") as file:
            data = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _refused(path, str(error)) from error
    spec = _spec(path, data)
    _check_sense(path, spec)
    return spec


def _refused(path: Path, why: str) -> ModelError:
    return ModelError(f"The preset {path.name} cannot be used: {why}", hint=f"Correct {path}.")


def _spec(path: Path, data: dict[str, Any]) -> ModelSpec:
    _check_names(path, "", data, {*_TOP, *_NEEDED}, {*_TABLES, "source", "aliases"})
    values: dict[str, Any] = {key: _typed(path, "", key, data[key], kind) for key, kind in _TOP.items()}
    values["aliases"] = _aliases(path, data)
    sources = {}
    for table in (name for name in _TABLES if name in data):
        needed, allowed = _TABLES[table]
        content = _table(path, data, table)
        given = {"source": data["source"]} | content if "source" in data else content
        _check_names(path, table, given, {*needed, "source"}, set(allowed))
        sources[table] = _typed(path, table, "source", given["source"], str)
        kinds = {**needed, **allowed}
        found: dict[str, Any] = {
            key: _typed(path, table, key, value, kinds[key]) for key, value in content.items() if key in kinds
        }
        values |= {table: _GROUPS[table](**found)} if table in _GROUPS else found
    return ModelSpec(**values, sources=sources)


def _aliases(path: Path, data: Mapping[str, Any]) -> tuple[str, ...]:
    found = data.get("aliases", [])
    if not isinstance(found, list) or not all(isinstance(name, str) and name for name in found):
        raise _refused(path, f"aliases is {found!r}, not a list of names")
    return tuple(found)


def _table(path: Path, data: Mapping[str, Any], name: str) -> dict[str, Any]:
    content = data[name]
    if not isinstance(content, dict):
        raise _refused(path, f"{name} is not a table")
    return content


def _check_names(path: Path, table: str, found: Mapping[str, Any], needed: set[str], allowed: set[str]) -> None:
    where = f" in [{table}]" if table else ""
    if unknown := sorted(set(found) - needed - allowed):
        raise _refused(path, f"unknown key {unknown[0]}{where}; known are {', '.join(sorted(needed | allowed))}")
    if missing := sorted(needed - set(found)):
        raise _refused(path, f"{missing[0]} is missing{where}")


def _typed(path: Path, table: str, key: str, value: object, kind: type[_T]) -> _T:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _refused(path, f"{key}{f' in [{table}]' if table else ''} is {value!r}, not {kind.__name__}")
    if value == "":
        raise _refused(path, f"{key} is empty")
    return value


def _check_sense(path: Path, spec: ModelSpec) -> None:
    if spec.id != path.stem:
        raise _refused(path, f"its id is {spec.id}, not the file's name")
    if why := nonsense(spec):
        raise _refused(path, why)
