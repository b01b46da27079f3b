"""`moetune bench`: a plan's speed over contexts and batches, beside what was predicted."""

from __future__ import annotations

import argparse
import os

from app.cli.bench_text import bench_lines, markdown_text, point_line, title_of
from app.cli.output import narrate, print_json, text_width
from app.cli.plan import request_from
from app.cli.signals import Ended, end_on_signals
from app.cli.spans import print_lines
from app.errors import ExitCode, UsageError
from app.jobs.benching import BenchReport, Measured, bench
from app.jobs.plan_file import planned_as_saved, saved_plan
from app.jobs.planning import make_plan
from app.jobs.sweeping import (
    BATCHES,
    CONTEXTS,
    FLOOR_TPS,
    GENERATED,
    QUICK_BATCHES,
    QUICK_CONTEXTS,
    QUICK_GENERATED,
    Sweep,
)
from app.solver.explain import placement_text, speed_text


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; a failure in the middle comes after what was measured."""
    if arguments.model is None and arguments.url is None:
        raise UsageError("There is nothing to measure.", hint="Give a model, as for `moetune plan`; or --url.")
    teller = _Teller()
    end_on_signals()
    try:
        report = _of_plan(arguments, teller) if arguments.url is None else _of_endpoint(arguments, teller)
    except KeyboardInterrupt as error:
        narrate(f"\nmoetune: interrupted; {teller.kept_text}")
        return 128 + Ended.number_of(error)
    print_report(report, as_json=arguments.json, as_markdown=arguments.markdown)
    if report.failure is not None:
        narrate(f"moetune: {report.failure.message}")
        if report.failure.hint:
            narrate(f"  -> {report.failure.hint}")
        narrate(teller.kept_text)
        return report.failure.exit_code
    return ExitCode.OK


def sweep_from(arguments: argparse.Namespace) -> Sweep:
    """The words of the command line as a sweep."""
    quick = arguments.quick
    return Sweep(
        contexts=arguments.contexts or (QUICK_CONTEXTS if quick else CONTEXTS),
        batches=arguments.batches or (QUICK_BATCHES if quick else BATCHES),
        generated=arguments.generate or (QUICK_GENERATED if quick else GENERATED),
        floor_tps=arguments.floor or FLOOR_TPS,
        again=arguments.again,
    )


def _of_plan(arguments: argparse.Namespace, teller: _Teller) -> BenchReport:
    saved = saved_plan(arguments.model)
    if saved is None:
        _make_ready(arguments.model)
        planned = make_plan(request_from(arguments))
    else:
        planned = planned_as_saved(arguments.model, saved, engine=arguments.engine)
    plan = planned.plan
    narrate(f"{plan.model_name}: {placement_text(planned.machine, plan.placement, planned.shape)}")
    narrate(f"predicted {speed_text(plan.decode)}")
    return bench(planned, sweep_from(arguments), on_event=teller)


def _make_ready(name: str) -> None:
    """Have the weights of a preset on this disk, or say exactly what to download."""
    from app.jobs.scenarios import find_scenario

    scenario = find_scenario(name)
    if scenario is not None and scenario.weights.kind != "checkpoint":
        from app.cli.slicing import Progress
        from app.jobs.fetching import weights_here

        weights_here(scenario, narrate, Progress("writing"), fetch=False)


def _of_endpoint(arguments: argparse.Namespace, teller: _Teller) -> BenchReport:
    from app.jobs.endpoint_benching import BURSTS, bench_endpoint
    from app.telemetry.endpoint import KEY_VARIABLE, Endpoint

    endpoint = Endpoint.at(arguments.url, model=arguments.model or "", key=os.environ.get(KEY_VARIABLE, ""))
    bursts = 1 if arguments.quick else BURSTS
    return bench_endpoint(endpoint, sweep_from(arguments), bursts=bursts, on_event=teller)


class _Teller:
    """Tells on stderr what was measured, and how long the rest should take."""

    def __init__(self) -> None:
        self._last: Measured | None = None

    def __call__(self, event: Measured) -> None:
        """Tell one point."""
        self._last = event
        rest = ""
        if event.left_s is not None and event.number < event.of and not event.known:
            rest = f"; about {_duration(event.left_s)} left"
        known = ", known from before" if event.known else ""
        narrate(f"[{event.number}/{event.of}] {point_line(event.point)}{known}{rest}")

    @property
    def kept_text(self) -> str:
        """What is there though the sweep did not end."""
        if self._last is None:
            return "nothing was measured"
        count = f"{self._last.number} point" + "s are" * (self._last.number != 1) + " is" * (self._last.number == 1)
        number = self._last.bench_id
        return f"{count} kept: `moetune history {number}` shows them, and the same command goes on from there"


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )


def print_report(report: BenchReport, *, as_json: bool, as_markdown: bool) -> None:
    """The report in one of its forms; nothing but its notes where no point was measured."""
    title = title_of(report.model, report.engine, report.tool)
    if as_json:
        print_json(report)
    elif as_markdown:
        print(markdown_text(title, report.facts, report.points, report.notes))
    elif report.points:
        print_lines(bench_lines(title, report.facts, report.points, report.notes, text_width()))
    else:
        for note in report.notes:
            narrate(note)
