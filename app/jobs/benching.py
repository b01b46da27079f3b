"""The bench job: a plan's speed over contexts and batches by the engine's own tool, each point kept at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

from app import bench_store
from app.bench_store import Facts, Point
from app.errors import EngineFailedError, MoetuneError, NoEngineError, UsageError
from app.jobs.bench_facts import busy_note, expected_point, facts_of, key_of, seconds_of
from app.jobs.checking import machine_key
from app.jobs.explaining import scene_of
from app.jobs.planning import PlannedRun
from app.jobs.sweeping import Sweep, Wanted, passes_of, wanted_points
from app.runtimes.batched_sweep import BatchedSweep, SweepPass, SweepRow
from app.runtimes.llama_bench import BATCHED_TOOL
from app.units import count_text, rate_text

SCHEMA = "moetune.bench/1"
LIMIT_FACTOR, LIMIT_S = 10.0, 3600.0
"""The tool may take so many times what was predicted, and loading a model from a slow disk on top."""
FRUITLESS_STARTS = 6
"""The tool's exit does not wait for the thread that prints (llama.cpp issue 22142): of a model of 15 MB the last line
was lost in 8 of 60 starts on a busy machine. A large model takes so long to be freed that it should not be."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a sweep ended before its end."""

    message: str
    hint: str
    exit_code: int


@dataclass(frozen=True, slots=True)
class BenchReport:
    """What `moetune bench` answers with."""

    schema: str
    """`moetune.bench/1`: the number rises when a field changes its meaning or goes."""
    id: int | None
    """For `moetune history`; `None` where no point was measured."""
    machine: str
    model: str
    engine: str
    tool: str
    facts: Facts
    """State of the machine, placement, parameters."""
    points: tuple[Point, ...]
    """By sequences, then by context."""
    notes: tuple[str, ...] = ()
    """What was left out, and why; one sentence each."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """A point that is there now."""

    bench_id: int
    point: Point
    number: int
    of: int
    known: bool
    """From an earlier sweep of the same configuration."""
    left_s: float | None
    """What the points still to come should take; `None`: nobody predicts it."""


Event = Measured


def bench(planned: PlannedRun, sweep: Sweep, *, on_event: Callable[[Event], None] = lambda _: None) -> BenchReport:
    """Measure the sweep. What is measured is kept at once; leaving by an exception such as Ctrl-C ends the tool.

    Raises:
        UsageError: the plan is not for llama.cpp, or the model is not downloaded.
        NoEngineError: the tool is missing.
    """
    tool = _tool(planned)
    job = _Job(planned, sweep, on_event)
    failure: Failure | None = None
    try:
        job.run(tool)
    except (EngineFailedError, NoEngineError) as error:
        failure = failure_of(error)
    return job.report(failure)


def failure_of(error: MoetuneError) -> Failure:
    """An error as a part of a report."""
    return Failure(error.message, error.hint, int(error.exit_code))


def _tool(planned: PlannedRun) -> BatchedSweep:
    if planned.plan.parameters.kt is not None:
        raise UsageError(
            "This plan is for KTransformers, which moetune does not start.",
            hint="Start it, then measure it with `moetune bench --url`; or plan with --runtime llama.cpp.",
        )
    if not planned.launchable:
        raise UsageError(f"{planned.request.model} is not downloaded.", hint="Give the path of its GGUF file.")
    return BatchedSweep(planned.engine)


class _Job:
    """One sweep on its way."""

    def __init__(self, planned: PlannedRun, sweep: Sweep, on_event: Callable[[Event], None]) -> None:
        self._planned, self._sweep, self._on_event = planned, sweep, on_event
        plan = planned.plan
        self._plan = replace(plan, parameters=replace(plan.parameters, draft_tokens=0))
        self._scene = scene_of(planned)
        self._wanted, cuts = wanted_points(self._plan, sweep)
        self._notes = [*cuts, *busy_note(planned.machine)]
        self._points: dict[Wanted, Point] = {}
        self._machine = machine_key(planned.machine)
        self._engine = f"{planned.engine.runtime} {planned.engine.version}"
        self._facts = facts_of(planned)
        self._key = key_of(self._facts, BATCHED_TOOL)
        self._id: int | None = None
        self._expected = {one: expected_point(self._scene, self._plan, one) for one in self._wanted}

    def run(self, tool: BatchedSweep) -> None:
        """Take what is known, then measure the rest start by start."""
        if not self._sweep.again:
            self._take_known()
        fruitless = 0
        while starts := passes_of(tuple(one for one in self._wanted if one not in self._points)):
            before = len(self._points)
            self._start(tool, starts[0])
            fruitless = 0 if len(self._points) > before else fruitless + 1
            if fruitless == FRUITLESS_STARTS:
                raise EngineFailedError(
                    f"{BATCHED_TOOL} ended {fruitless} times without the points that it was asked for.",
                    hint="A current llama.cpp gives them: `moetune runtime build` builds one.",
                )

    def report(self, failure: Failure | None) -> BenchReport:
        """What is there by now."""
        points = tuple(self._points[one] for one in self._wanted if one in self._points)
        return BenchReport(
            SCHEMA, self._id, self._machine, self._plan.model_name, self._engine, BATCHED_TOOL,
            self._facts, points, tuple(self._notes), failure,
        )  # fmt: skip

    def _take_known(self) -> None:
        stored = bench_store.bench_of_config(self._machine, self._key)
        if stored is None:
            return
        self._id = stored.id
        known = {
            (p.context, p.batch, p.prompt_tokens): p for p in stored.points if p.generated >= self._sweep.generated
        }
        for one in self._wanted:
            point = known.get((one.context, one.batch, one.prompt_tokens))
            if point is not None:
                self._points[one] = point
        for one, point in tuple(self._points.items()):
            self._cut_below(one, point)
        for number, point in enumerate(self._points.values(), start=1):
            self._tell(point, number, known=True)

    def _start(self, tool: BatchedSweep, wanted: SweepPass) -> None:
        """One start of the tool, to its end or until the rest of it is not wanted any more."""
        pending = {
            (one.prompt_tokens, one.batch): one
            for one in self._wanted
            if one not in self._points and one.prompt_tokens in wanted.prompts and one.batch in wanted.batches
        }
        limit_s = LIMIT_FACTOR * sum(seconds_of(self._expected[one]) for one in pending.values()) + LIMIT_S
        with closing(tool.run(self._plan, wanted, limit_s=limit_s)) as rows:
            for row in rows:
                one = pending.pop((row.prompt_tokens, row.batch), None)
                if one is not None and self._keep(one, row):
                    return

    def _keep(self, one: Wanted, row: SweepRow) -> bool:
        """Remember a row; whether the sweep's other contexts are too slow to be measured."""
        if self._id is None:
            self._id = bench_store.begin_bench(
                self._machine, self._plan.model_name, self._engine, BATCHED_TOOL, self._key, self._facts
            )
        point = replace(self._expected[one], prefill_tps=row.prefill_tps, decode_tps=row.decode_tps)
        self._points[one] = point = bench_store.save_point(self._id, point)
        cut = self._cut_below(one, point)
        self._tell(point, len(self._points), known=False)
        return cut

    def _cut_below(self, one: Wanted, point: Point) -> bool:
        """Leave longer contexts out where one sequence is too slow."""
        floor = self._sweep.floor_tps
        if one.batch > 1 or point.decode_tps is None or point.decode_tps >= floor:
            return False
        longer = {other.context for other in self._wanted if other.context > one.context}
        longer -= {other.context for other in self._points}
        if longer:
            self._wanted = tuple(other for other in self._wanted if other.context not in longer)
            self._notes.append(
                f"Contexts from {count_text(min(longer))} on were left out: with {count_text(one.context)} decode fell"
                f" to {rate_text(point.decode_tps)} t/s, under {floor:g} t/s."
            )
        return bool(longer)

    def _tell(self, point: Point, number: int, *, known: bool) -> None:
        assert self._id is not None
        left = [one for one in self._wanted if one not in self._points]
        left_s = sum(seconds_of(self._expected[one]) for one in left)
        self._on_event(Measured(self._id, point, number, len(self._wanted), known, left_s))
