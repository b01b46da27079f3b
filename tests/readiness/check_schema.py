"""The JSON Schema of `moetune check --json`, made from the report's own types so that it cannot fall behind them.

`python -m tests.readiness.check_schema` writes `presets/schema/check.json` anew.
"""

from __future__ import annotations

import json
import types
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from app.jobs.checking import CheckReport
from app.readiness import Finding
from app.resources import PRESETS
from app.runtimes.base import Engine

SCHEMA = PRESETS / "schema" / "check.json"
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}

Schema = dict[str, Any]


def check_schema() -> Schema:
    """The schema of the whole report."""
    definitions: dict[str, Schema] = {}
    report = _of(CheckReport, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "moetune check --json",
        "description": "A machine, what is right and wrong with it, and its engines. A fact that is not known is null. "
        "`version` rises when a field changes its meaning or goes.",
        **report,
        "$defs": dict(sorted(definitions.items())),
    }


def _of(kind: Any, definitions: dict[str, Schema]) -> Schema:  # noqa: ANN401  # any type that the facts are written with
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_dataclass(kind) and isinstance(kind, type):
        return _of_dataclass(kind, definitions)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if one is type(None) else _of(one, definitions) for one in inner]}
    if origin in (tuple, frozenset):
        return {"type": "array", "items": _of(inner[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(inner[1], definitions)}
    raise TypeError(f"{kind} has no JSON Schema here")


def _of_dataclass(kind: type, definitions: dict[str, Schema]) -> Schema:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # stands in while its own fields are described
        hints = get_type_hints(kind, localns={"Engine": Engine, "Finding": Finding})
        definitions[name] = {
            "description": (kind.__doc__ or "").strip().splitlines()[0],
            "type": "object",
            "properties": {field.name: _of(hints[field.name], definitions) for field in fields(kind)},
            "required": [field.name for field in fields(kind)],
        }
    return {"$ref": f"#/$defs/{name}"}


def text() -> str:
    """The file as it should be."""
    return json.dumps(check_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(text(), encoding="utf-8")
