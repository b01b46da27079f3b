"""Doing the programme: slices are written, timed step by step, and each measurement is given as soon as it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import MoetuneError
from app.runtimes.base import Engine
from app.runtimes.bench import Bench, BenchRequest, BenchRow
from app.solver.model import ModelShape
from app.tuner.measurement import Measurement
from app.tuner.programme import REPETITIONS, Step, needed_bytes
from app.tuner.slice_folder import Slice, SliceFolder
from app.units import bytes_text, count_text

STEP_LIMIT_FACTOR, STEP_LIMIT_S = 6.0, 20.0
"""A step may take so many times what was predicted, and loading on top."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A step that was not measured."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Began:
    """A step that begins now."""

    name: str
    number: int
    of: int


Event = Began | Measurement | Skipped


def measure(
    steps: Iterable[Step],
    bench: Bench,
    engine: Engine,
    folder: SliceFolder,
    *,
    limit_s: float,
    on_writing: Callable[[int, int], None] | None = None,
) -> Iterator[Event]:
    """Run the steps, in their order; none begins that would not end in time by what is predicted of it.

    A step that fails is skipped with its reason: what others tell still holds.
    """
    deadline = time.monotonic() + limit_s
    steps = tuple(steps)
    for number, step in enumerate(steps, start=1):
        left_s = deadline - time.monotonic()
        if left_s < step.expected_s:
            yield Skipped(step.name, f"the time limit of {limit_s:.0f} s")
            continue
        if lack := _lack(step, engine):
            yield Skipped(step.name, lack)
            continue
        yield Began(step.name, number, len(steps))
        try:
            path, shape = _file(step, folder, on_writing)
            request = BenchRequest(
                path, step.placement, step.parameters, step.prompts, step.generated, step.depths, REPETITIONS
            )
            for row in bench.run(request, limit_s=STEP_LIMIT_FACTOR * step.expected_s + STEP_LIMIT_S):
                yield measurement_of(step, shape, row)
        except MoetuneError as error:
            yield Skipped(step.name, error.message)


def measurement_of(step: Step, shape: ModelShape, row: BenchRow) -> Measurement:
    """A row of the bench with all that is needed to predict it."""
    at = f" at {count_text(row.depth)}" if row.depth else ""
    what = (f"prompt of {row.tokens}" if row.phase == "prefill" else "decode") + at
    samples = row.samples_ms[1:] or row.samples_ms
    return Measurement(
        f"{step.name}: {what}", shape, step.placement, step.parameters, row.phase, row.tokens, row.depth, samples
    )


def _file(step: Step, folder: SliceFolder, on_writing: Callable[[int, int], None] | None) -> tuple[Path, ModelShape]:
    if isinstance(step.subject, Slice):
        return folder.file(step.subject, on_writing), folder.shape(step.subject)
    return step.subject, step.shape


def _lack(step: Step, engine: Engine) -> str:
    """Which device has too little free memory, or nothing."""
    free = {device.device_id: (device.name, device.free_bytes) for device in engine.devices}
    for device_id, needed in needed_bytes(step):
        name, available = free.get(device_id, (device_id, None))
        if available is not None and needed > available:
            return f"{name} has {bytes_text(available)} free, and it takes about {bytes_text(needed)}"
    return ""
