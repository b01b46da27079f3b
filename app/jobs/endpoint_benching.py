"""The bench job of a running endpoint: concurrent streams over HTTP, each point kept at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, cast

from app import bench_store
from app.bench_store import Facts, Point
from app.errors import EngineFailedError
from app.jobs.bench_facts import key_of
from app.jobs.benching import SCHEMA, BenchReport, Event, Failure, Measured, failure_of
from app.jobs.checking import known_machine, machine_key
from app.jobs.sweeping import Sweep, Wanted, all_points
from app.jsonform import plain
from app.runtimes.base import Engine
from app.telemetry.completion import RefusedError
from app.telemetry.endpoint import Endpoint
from app.telemetry.load import Burst, Load, latencies
from app.tuner.conditions import conditions_of
from app.units import count_text, rate_text

BURSTS = 3
"""How often the streams of a point begin together: the speeds are the median, percentiles are over all of them."""
_HERE = frozenset({"127.0.0.1", "localhost", "::1"})


def bench_endpoint(
    endpoint: Endpoint, sweep: Sweep, *, bursts: int = BURSTS, on_event: Callable[[Event], None] = lambda _: None
) -> BenchReport:
    """Measure the sweep. What is measured is kept at once; leaving by an exception such as Ctrl-C ends all streams.

    Raises:
        EngineFailedError: nobody answers, or not as an OpenAI-compatible endpoint does.
    """
    endpoint = endpoint.named()
    load = Load(endpoint)
    load.prepare()
    job = _Job(endpoint, sweep, bursts, on_event)
    failure: Failure | None = None
    try:
        job.run(load)
    except EngineFailedError as error:
        failure = failure_of(error)
    return job.report(failure)


class _Job:
    """One sweep on its way."""

    def __init__(self, endpoint: Endpoint, sweep: Sweep, bursts: int, on_event: Callable[[Event], None]) -> None:
        self._endpoint, self._sweep, self._bursts, self._on_event = endpoint, sweep, bursts, on_event
        self._model = endpoint.model or "a model without a name"
        self._engine = engine_behind(endpoint)
        here = endpoint.host in _HERE
        self._machine = machine_key(known_machine()) if here else endpoint.host
        self._facts: Facts = {"state": _state(self._engine) if here else {"engine": self._engine}, "bursts": bursts}
        self._key = key_of({**self._facts, "model": self._model}, endpoint.base)
        self._wanted = all_points(sweep)
        self._points: dict[Wanted, Point] = {}
        self._notes: list[str] = []
        self._id: int | None = None

    def run(self, load: Load) -> None:
        """Point by point, what is known first."""
        stored = None if self._sweep.again else bench_store.bench_of_config(self._machine, self._key)
        if stored is not None:
            self._id = stored.id
            told = [point for point in stored.points if point.generated >= self._sweep.generated]
            known = {(point.context, point.batch): point for point in told}
            self._points = {
                one: known[one.context, one.batch] for one in self._wanted if (one.context, one.batch) in known
            }
            for number, point in enumerate(tuple(self._points.values()), start=1):
                self._tell(point, number, known=True)
            for one, point in tuple(self._points.items()):
                self._cut_slow(one, point)
        while left := [one for one in self._wanted if one not in self._points]:
            self._measure(load, left[0])

    def report(self, failure: Failure | None) -> BenchReport:
        """What is there by now."""
        points = tuple(self._points[one] for one in self._wanted if one in self._points)
        return BenchReport(
            SCHEMA, self._id, self._machine, self._model, self._engine, self._endpoint.base,
            self._facts, points, tuple(self._notes), failure,
        )  # fmt: skip

    def _measure(self, load: Load, one: Wanted) -> None:
        try:
            bursts = [
                load.burst(streams=one.batch, prompt_tokens=one.prompt_tokens, generated=one.generated)
                for _ in range(self._bursts)
            ]
        except RefusedError as error:
            if not self._points:
                raise
            self._leave_out(one, error.message.rstrip("."))
            return
        if self._id is None:
            self._id = bench_store.begin_bench(
                self._machine, self._model, self._engine, self._endpoint.base, self._key, self._facts
            )
        self._points[one] = point = bench_store.save_point(self._id, point_of(one, bursts))
        self._cut_slow(one, point)
        self._tell(point, len(self._points), known=False)

    def _cut_slow(self, one: Wanted, point: Point) -> None:
        floor, speed = self._sweep.floor_tps, point.decode_tps
        if one.batch == 1 and speed is not None and speed < floor:
            longer = [other for other in self._wanted if other.context > one.context and other not in self._points]
            if longer:
                why = f"with {count_text(one.context)} decode fell to {rate_text(speed)} t/s, under {floor:g} t/s"
                self._leave_out(longer[0], why)

    def _leave_out(self, first: Wanted, why: str) -> None:
        """That point, and the larger ones that are not there yet."""
        self._wanted = tuple(
            one for one in self._wanted if one in self._points or one.context < first.context or one.batch < first.batch
        )
        what = (
            f"Contexts from {count_text(first.context)} on" if first.batch == 1 else f"{first.batch} and more streams"
        )
        self._notes.append(f"{what} were left out: {why}.")

    def _tell(self, point: Point, number: int, *, known: bool) -> None:
        assert self._id is not None
        self._on_event(Measured(self._id, point, number, len(self._wanted), known, None))


def point_of(one: Wanted, bursts: list[Burst]) -> Point:
    """What the clients saw in all bursts."""
    answers = [answer for burst in bursts for answer in burst.answers]
    counts = [answer.prompt_tokens + answer.cached_tokens for answer in answers if answer.prompt_tokens is not None]
    prefill = [speed for burst in bursts if (speed := burst.prefill_tps) is not None]
    decode = [speed for burst in bursts if (speed := burst.decode_tps) is not None]
    return Point(
        one.context, one.batch, round(median(counts)) if counts else one.prompt_tokens, one.generated,
        median(prefill) if prefill and one.context else None, median(decode) if decode else None,
        latency=latencies(bursts),
    )  # fmt: skip


def engine_behind(endpoint: Endpoint) -> str:
    """What answers, as far as it tells: llama.cpp by `/props`, vLLM by `/version`, SGLang by `/get_server_info`."""
    for path, name, field in (
        ("/props", "llama.cpp", "build_info"),
        ("/version", "vLLM", "version"),
        ("/get_server_info", "SGLang", "version"),
    ):
        found: Any = endpoint.get(path)
        if isinstance(found, dict) and found.get(field):
            return f"{name} {found[field]}"
    return ""


def _state(engine: str) -> Facts:
    """Of this machine; of the engine what it told."""
    machine = known_machine()
    unknown = Engine("", Path(), "assumed", engine, (), ())
    conditions = cast("Facts", plain(replace(conditions_of(machine, unknown), engine=engine)))
    return {"kernel": machine.kernel.release if machine.kernel else None, **conditions}
