"""Looks up an architecture's keys in GGUF metadata and checks what is found there."""

from __future__ import annotations

from app.errors import ModelError
from app.models.gguf import GgufHeader

_LIMIT = 1 << 40
"""No count in a model's description comes near this."""


class Keys:
    """The metadata of one file, read by keys without their architecture prefix."""

    def __init__(self, header: GgufHeader) -> None:
        self.header = header
        self.architecture = header.architecture

    def full_name(self, key: str) -> str:
        """`block_count` -> `gpt-oss.block_count`."""
        return f"{self.architecture}.{key}"

    def raw(self, key: str) -> object:
        """The value as it stands, None where there is none."""
        return self.header.metadata.get(self.full_name(key))

    def refused(self, key: str, why: str) -> ModelError:
        """The error for a key that cannot be used."""
        return ModelError(
            f"{self.header.path}: {self.full_name(key)} {why}",
            hint="The file is damaged or was converted by other means; download a current conversion.",
        )

    def count(self, key: str, default: int | None = None) -> int:
        """A number of something.

        Raises:
            ModelError: missing without a default, not a number, negative, or absurd.
        """
        value = self.raw(key)
        if value is None:
            if default is None:
                raise self.refused(key, "is missing")
            return default
        return self._checked(key, value)

    def per_layer(self, key: str, layers: int, default: int | None = None) -> tuple[int, ...]:
        """One number per layer, whether the file has one for all or an array.

        Raises:
            ModelError: as for `count`, or an array that is shorter than the model.
        """
        value = self.raw(key)
        if not isinstance(value, tuple):
            return (self.count(key, default),) * layers
        if len(value) < layers:
            raise self.refused(key, f"has {len(value)} entries for {layers} layers")
        return tuple(self._checked(key, entry) for entry in value[:layers])

    def _checked(self, key: str, value: object) -> int:
        if not isinstance(value, int) or not 0 <= value < _LIMIT:
            raise self.refused(key, f"is {value!r}, not a count")
        return int(value)
