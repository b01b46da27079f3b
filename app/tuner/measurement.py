"""One measured speed, with everything that is needed to predict it again, and its JSON form for the database."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from statistics import median
from typing import Any

from app.jsonform import plain, rebuilt
from app.runtimes.bench import Phase
from app.solver.model import LayerShape, ModelShape
from app.solver.plan import KtParameters, Parameters, Placement

STEADY = 1.1
"""Repetitions whose median is within this of the fastest are one distribution: their median is the measurement. Beyond,
others had a part of the machine, which can only make it slower: the fastest is."""
NOISY = 1.5
"""Median over fastest from which a person is warned."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Repetitions of one test."""

    name: str
    """What a person calls it: `gpt-oss 20B, 2 layers, on CPU: decode`."""
    shape: ModelShape
    """Of the very file that was run."""
    placement: Placement
    parameters: Parameters
    phase: Phase
    tokens: int
    """Of the prompt, or generated."""
    depth: int
    """Tokens in the cache before."""
    samples_ms: tuple[float, ...]
    """Per token. The first repetition, which warms caches and clocks, is left out."""
    layer_only: bool = False
    """Of one layer's routed experts alone (KTransformers' kernels): `shape` has that layer."""

    @property
    def ms_per_token(self) -> float:
        """The time to reckon with."""
        middle, least = median(self.samples_ms), min(self.samples_ms)
        return middle if middle <= STEADY * least else least

    @property
    def spread(self) -> float:
        """Median over fastest: 1 where all repetitions agree."""
        return median(self.samples_ms) / min(self.samples_ms)

    @property
    def noise(self) -> float:
        """Standard deviation of the logarithm that the repetitions show."""
        return math.log(self.spread)

    @property
    def is_noisy(self) -> bool:
        """Whether the repetitions say more about other programs than about this machine."""
        return self.spread > NOISY


def to_json(measurement: Measurement) -> str:
    """For the database."""
    return json.dumps(plain(measurement), separators=(",", ":"))


def from_json(text: str) -> Measurement | None:
    """What `to_json` wrote; `None` where it is from a version whose form is not understood.

    What that version did not know has its default; what is no longer known is left out.
    """
    try:
        data: dict[str, Any] = json.loads(text)
        shape = dict(data["shape"])
        shape["layers"] = tuple(rebuilt(LayerShape, layer) for layer in shape["layers"])
        parameters = dict(data["parameters"])
        if parameters.get("kt"):
            parameters["kt"] = rebuilt(KtParameters, parameters["kt"])
        placed = dict(data["placement"]) | {name: tuple(data["placement"][name]) for name in ("attention", "experts")}
        parts = {
            "shape": rebuilt(ModelShape, shape),
            "placement": rebuilt(Placement, placed),
            "parameters": rebuilt(Parameters, parameters),
            "samples_ms": tuple(float(sample) for sample in data["samples_ms"]),
        }
        found = rebuilt(Measurement, data | parts)
        return found if found.samples_ms and min(found.samples_ms) > 0 and found.tokens > 0 else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
