"""The models that moetune describes: `presets/models/*.toml`, read and checked.

A preset is tables of numbers, each table with the `source` its numbers come from.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from app.errors import ModelError, UsageError
from app.models.architectures import ARCHITECTURES
from app.models.ggml_types import FILE_TYPES, TYPES_BY_NAME
from app.models.spec import ModelSpec, TypeRole, YarnSpec
from app.resources import PRESETS

_T = TypeVar("_T")
_FOLDER = PRESETS / "models"
_TOP: dict[str, type] = {"id": str, "name": str, "architecture": str}
_TABLES: dict[str, dict[str, type]] = {
    "model": {
        "layers": int,
        "d_model": int,
        "vocabulary": int,
        "context_length": int,
        "feed_forward": int,
        "norm_epsilon": float,
    },
    "attention": {
        "heads": int,
        "kv_heads": int,
        "key_length": int,
        "value_length": int,
        "rope_base": float,
    },
    "experts": {"experts": int, "experts_used": int, "expert_ff": int},
}
"""Table -> key -> type; every one is required, and `source` in each."""
_OPTIONAL: dict[str, dict[str, type]] = {"window": {"window": int}, "yarn": {"factor": float, "original_context": int}}
_ROLES: tuple[TypeRole, ...] = get_args(TypeRole)


def model_names() -> tuple[str, ...]:
    """The ids of all described models, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def find_spec(name: str) -> ModelSpec:
    """A described model by its id, such as `demo` or `gpt-oss-20b`.

    Raises:
        UsageError: there is none of that name; the hint lists what there is.
        ModelError: its preset is damaged.
    """
    names = model_names()
    if name not in names:
        raise UsageError(f"There is no model preset {name!r}", hint=f"There are {', '.join(names) or 'none'}.")
    return load_spec(_FOLDER / f"{name}.toml")


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
    _check_names(path, "", data, {*_TOP, *_TABLES, "types"}, set(_OPTIONAL))
    values: dict[str, Any] = {key: _typed(path, "", key, data[key], kind) for key, kind in _TOP.items()}
    sources = {}
    tables = {name: keys for name, keys in (_TABLES | _OPTIONAL).items() if name in data}
    optional: dict[str, dict[str, Any]] = {}
    for table, keys in tables.items():
        content = _table(path, data, table)
        _check_names(path, table, content, {*keys, "source"}, set())
        sources[table] = _typed(path, table, "source", content["source"], str)
        found: dict[str, Any] = {key: _typed(path, table, key, content[key], kind) for key, kind in keys.items()}
        (optional.setdefault(table, {}) if table == "yarn" else values).update(found)
    types = _table(path, data, "types")
    _check_names(path, "types", types, {"file_type", "source", *_ROLES} - {"more_bits"}, {"more_bits"})
    sources["types"] = _typed(path, "types", "source", types["source"], str)
    return ModelSpec(
        **values,
        file_type=_typed(path, "types", "file_type", types["file_type"], int),
        types={role: _typed(path, "types", role, types[role], str) for role in _ROLES if role in types},
        yarn=YarnSpec(**optional["yarn"]) if "yarn" in optional else None,
        sources=sources,
    )


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
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _refused(path, f"{key}{f' in [{table}]' if table else ''} is {value!r}, not {kind.__name__}")
    if value == "":
        raise _refused(path, f"{key} is empty")
    return value


def _check_sense(path: Path, spec: ModelSpec) -> None:
    if spec.id != path.stem:
        raise _refused(path, f"its id is {spec.id}, not the file's name")
    if spec.architecture not in ARCHITECTURES:
        raise _refused(path, f"unknown architecture {spec.architecture}; known are {', '.join(ARCHITECTURES)}")
    if spec.file_type not in FILE_TYPES:
        raise _refused(path, f"unknown file_type {spec.file_type}")
    if unknown := sorted(set(spec.types.values()) - set(TYPES_BY_NAME)):
        raise _refused(path, f"unknown tensor type {unknown[0]}")
    if small := [name for name, value in spec.dimensions().items() if value < 1]:
        raise _refused(path, f"{small[0]} must be at least 1")
    if spec.layers < 1 or not 1 <= spec.experts_used <= spec.experts:
        raise _refused(path, "layers and experts_used must be at least 1, experts_used at most experts")
    for role, row in (("attention", spec.d_model), ("experts", spec.d_model), ("experts", spec.expert_ff)):
        block = TYPES_BY_NAME[spec.types["attention" if role == "attention" else "experts"]].block_elements
        if row % block:
            raise _refused(path, f"rows of {row} do not divide into blocks of {block} ({role})")
