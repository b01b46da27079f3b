"""A series of fixed length: the newest values win, and a gap keeps its place."""

from __future__ import annotations

from collections import deque


class Ring:
    """The last `capacity` values; `None` is a gap.

    Args:
        capacity: how many values are kept.

    Raises:
        ValueError: the capacity is not positive.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError("a ring holds at least one value")
        self._values: deque[float | None] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def capacity(self) -> int:
        """How many values are kept."""
        return self._values.maxlen or 0

    @property
    def latest(self) -> float | None:
        """The newest value; `None` if that is a gap or there is none."""
        return self._values[-1] if self._values else None

    def append(self, value: float | None) -> None:
        """Add the newest value; the oldest goes when the ring is full."""
        self._values.append(value)

    def values(self) -> tuple[float | None, ...]:
        """All values, oldest first."""
        return tuple(self._values)

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()
