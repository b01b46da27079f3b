"""Looks values up in a `config.json` and checks what is found there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from app.errors import ModelError

_LIMIT = 1 << 40
"""No dimension comes near this."""


class Values:
    """The values of one JSON object of a model's configuration."""

    def __init__(self, path: Path, found: Mapping[str, object]) -> None:
        self.path = path
        self.found = found

    def refused(self, key: str, why: str) -> ModelError:
        """The error for a value that cannot be used."""
        return ModelError(f"{self.path}: {key} {why}", hint="Give the model's own config.json, as it is published.")

    def first(self, keys: Sequence[str], default: int | None = None) -> int:
        """The number under the first of the keys that is there and not null; of a list, its first.

        Raises:
            ModelError: none is there and there is no default, or what is there is no number.
        """
        for key in keys:
            value = self.found.get(key)
            if value is not None:
                return self._checked(key, value[0] if isinstance(value, list) and value else value)
        if default is None:
            raise self.refused(keys[0], "is missing")
        return default

    def number(self, key: str, default: int | None = None) -> int:
        """The number under a key."""
        return self.first((key,), default)

    def numbers(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """The numbers of a list."""
        return tuple(self._checked(key, value) for value in self._list(key, default))

    def text(self, key: str, default: str | None = None) -> str:
        """The text under a key."""
        value = self.found.get(key, default)
        if not isinstance(value, str):
            raise self.refused(key, f"is {value!r}, not a text" if key in self.found else "is missing")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """The texts of a list."""
        values = self._list(key, default)
        if wrong := [value for value in values if not isinstance(value, str)]:
            raise self.refused(key, f"has {wrong[0]!r}, not a text")
        return tuple(str(value) for value in values)

    def flag(self, key: str, default: bool) -> bool:
        """The yes or no under a key."""
        value = self.found.get(key)
        return value if isinstance(value, bool) else default

    def is_list(self, key: str) -> bool:
        """Whether a list is there."""
        return isinstance(self.found.get(key), list)

    def inside(self, key: str) -> Values:
        """The object under a key, empty where there is none."""
        value = self.found.get(key)
        return Values(self.path, value if isinstance(value, dict) else {})

    def _list(self, key: str, default: Sequence[object] | None) -> Sequence[object]:
        value = self.found.get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, list):
            raise self.refused(key, "is missing" if value is None else f"is {value!r}, not a list")
        return value

    def _checked(self, key: str, value: object) -> int:
        if isinstance(value, bool) and value in (True, False):
            return int(value)
        if not isinstance(value, int) or not 0 <= value < _LIMIT:
            raise self.refused(key, f"is {value!r}, not a count")
        return value
