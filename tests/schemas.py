"""JSON Schemas of our reports, made from their own types so that they cannot fall behind them."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", Path: "string"}


def schema_of(kind: type, title: str, description: str, names: Mapping[str, type] | None = None) -> Schema:
    """The schema of a dataclass and all that it holds.

    Args:
        kind: the dataclass.
        title: what prints it.
        description: what it is.
        names: types that its module imports for annotations only.
    """
    definitions: dict[str, Schema] = {}
    root = _of(kind, definitions, names or {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": description,
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _of(kind: Any, definitions: dict[str, Schema], names: Mapping[str, type]) -> Schema:  # noqa: ANN401  # any type
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if is_dataclass(kind) and isinstance(kind, type):
        return _of_dataclass(kind, definitions, names)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if one is type(None) else _of(one, definitions, names) for one in inner]}
    if origin is tuple and inner[-1] is not Ellipsis:
        return {
            "type": "array",
            "prefixItems": [_of(one, definitions, names) for one in inner],
            "minItems": len(inner),
            "maxItems": len(inner),
        }
    if origin in (tuple, frozenset, list, Sequence):
        return {"type": "array", "items": _of(inner[0], definitions, names)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of(inner[1], definitions, names)}
    raise TypeError(f"{kind} has no JSON Schema here")


def _of_dataclass(kind: type, definitions: dict[str, Schema], names: Mapping[str, type]) -> Schema:
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}  # stands in while its own fields are described
        hints = get_type_hints(kind, localns=dict(names))
        definitions[name] = {
            "description": (kind.__doc__ or "").strip().splitlines()[0],
            "type": "object",
            "properties": {field.name: _of(hints[field.name], definitions, names) for field in fields(kind)},
            "required": [field.name for field in fields(kind)],
        }
    return {"$ref": f"#/$defs/{name}"}
