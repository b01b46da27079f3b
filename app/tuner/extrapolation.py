"""From a few layers to all of them: a token costs something fixed, and the same again for every layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.errors import UsageError


@dataclass(frozen=True, slots=True)
class LayerLine:
    """The straight line through times of slices."""

    fixed_ms: float
    """Head, embedding, and what one step costs whatever it computes. Of a prompt it may be negative: the last layer
    computes its network for the last token alone."""
    per_layer_ms: float

    def ms(self, layers: int) -> float:
        """The time of a model with so many layers."""
        return self.fixed_ms + layers * self.per_layer_ms


def line_through(ms_by_layers: Mapping[int, float], *, prompt: bool = False) -> LayerLine:
    """The line that fits slices of one model best; by two of them it is exact.

    Slices must have layers of the same kinds in the same shares as the model has: whole periods of its pattern.

    Args:
        ms_by_layers: number of layers to milliseconds per token.
        prompt: whether it is a prompt's time.

    Raises:
        UsageError: fewer than two different slices.
    """
    if len(ms_by_layers) < 2:
        raise UsageError("One slice tells nothing about the layers.", hint="Measure two, such as 2 and 4 layers.")
    count = len(ms_by_layers)
    mean_layers = sum(ms_by_layers) / count
    mean_ms = sum(ms_by_layers.values()) / count
    slope = sum((layers - mean_layers) * (ms - mean_ms) for layers, ms in ms_by_layers.items()) / sum(
        (layers - mean_layers) ** 2 for layers in ms_by_layers
    )
    fixed = mean_ms - slope * mean_layers
    # Noise can make more layers look cheaper than fewer, or nothing dearer than nothing: then only the layers count.
    if slope <= 0 or (fixed < 0 and not prompt):
        through_zero = sum(layers * ms for layers, ms in ms_by_layers.items()) / sum(n * n for n in ms_by_layers)
        return LayerLine(0.0, through_zero)
    return LayerLine(fixed, slope)
