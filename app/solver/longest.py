"""The longest context that is still usable: the cache fits, and decoding at its end keeps a floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from app.solver.placement import Candidate
from app.solver.plan import Placement
from app.solver.prediction import decode_speed
from app.solver.scene import Scene

STEP = 1024
"""Contexts are tried in whole steps of so many tokens."""

UNKNOWN_LIMIT = 131072
"""Where a model does not say what it was trained for."""

Refit = Callable[[int], "Candidate | None"]
"""The same kind of placement with that many tokens of context for each sequence; `None`: it does not fit."""


def longest_context(scene: Scene, refit: Refit, floor_tps: float) -> tuple[int, Candidate | None]:
    """The longest context of one kind of placement, by bisection, and the placement; 0 where none is usable.

    Args:
        scene: model, machine, constants.
        refit: places the model anew for a context.
        floor_tps: decode speed of one sequence that a full context must keep.
    """
    best: Candidate | None = None
    low, high = 0, (scene.shape.context_length or UNKNOWN_LIMIT) // STEP + 1
    tried = high - 1
    while high - low > 1:
        candidate = refit(tried * STEP)
        if candidate is not None and speed_at(scene, candidate, tried * STEP) >= floor_tps:
            low, best = tried, candidate
        else:
            high = tried
        tried = (low + high) // 2
    return low * STEP, best


def speed_at(scene: Scene, candidate: Candidate, depth: int) -> float:
    """Decode speed of one sequence, that many tokens deep."""
    placement: Placement = candidate.placement
    return decode_speed(scene, placement, replace(candidate.parameters, parallel=1), context=depth)
