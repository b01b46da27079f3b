"""`moetune run`: launch the best plan; in a terminal the UI opens on it, elsewhere lines tell what happens."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from app.cli.output import narrate, print_json
from app.cli.plan import command_text, request_from
from app.cli.signals import run_until_signal
from app.errors import BusyError, EngineFailedError, ExitCode, UsageError
from app.jobs.load_report import check_load
from app.jobs.planning import PlannedRun, make_plan
from app.jobs.running import RunReport, ask, launch, remember
from app.jobs.vanishing import while_hosts_last
from app.launch.ownership import EngineRecord, orphan, stop_orphan
from app.launch.supervisor import EngineState, EngineStatus, Supervisor
from app.solver.explain import placement_text, speed_text
from app.telemetry.sample import Sample
from app.units import rate_text

_SAY_EVERY_S = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Plan, start, and stay until a signal or, with `--prompt`, until the answers are there."""
    _make_ready(arguments)
    in_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if in_terminal and not (arguments.plain or arguments.prompt or arguments.json):
        from app.ui.app import run as run_ui

        return run_ui(request=request_from(arguments), launch_now=True)
    found = orphan()
    if found is not None:
        _settle(found, arguments.orphan or _choice(found, in_terminal=in_terminal))
        if arguments.orphan == "adopt":
            return run_until_signal(_stay_with(found))
    planned = make_plan(request_from(arguments))
    return run_until_signal(_run(planned, arguments))


def _make_ready(arguments: argparse.Namespace) -> None:
    """Have the weights of a preset on this disk, or say exactly what to download.

    Raises:
        UsageError: --download, and no preset to say what.
    """
    from app.jobs.scenarios import find_scenario

    scenario = find_scenario(arguments.model)
    if scenario is None:
        if arguments.download:
            raise UsageError(
                "--download needs the name of a preset, which says what to download.",
                hint="`moetune presets` lists them.",
            )
        return
    from app.cli.slicing import Progress
    from app.jobs.fetching import weights_here

    verb = "writing" if scenario.weights.kind == "made" else "downloading"
    path = weights_here(scenario, narrate, Progress(verb), fetch=arguments.download)
    if scenario.weights.next:
        narrate(f"{path} is there. {scenario.weights.next}")


def _choice(found: EngineRecord, *, in_terminal: bool) -> str:
    said = f"An engine left by an earlier moetune still runs: {found.label}, pid {found.pid}, {found.url}."
    if not in_terminal:
        raise BusyError(said, hint="Say --orphan stop to end it first, or --orphan adopt to take it over.")
    narrate(said)
    answer = input("Stop it and go on? [y/N] ").strip().lower()
    if answer not in ("y", "yes"):
        raise BusyError("It was left running.", hint="`moetune` opens the UI, where it can be adopted.")
    return "stop"


def _settle(found: EngineRecord, choice: str) -> None:
    if choice == "stop":
        narrate(f"stopping the engine left behind (pid {found.pid}) ...")
        stop_orphan(found)


def _supervisor(ready_timeout_s: float = 600.0) -> Supervisor:
    def on_state(status: EngineStatus) -> None:
        where = f"  {status.url}/v1" if status.state is EngineState.READY else ""
        why = f": {status.reason}" if status.reason else ""
        narrate(f"engine {status.state.value}{why}{where}")

    return Supervisor(on_state=on_state, ready_timeout_s=ready_timeout_s)


async def _run(planned: PlannedRun, arguments: argparse.Namespace) -> int:
    plan = planned.plan
    narrate(f"{plan.model_name}: {placement_text(planned.machine, plan.placement, planned.shape)}")
    narrate(f"predicted {speed_text(plan.decode)}")
    narrate(command_text(planned.command))
    supervisor = _supervisor(arguments.ready_timeout)
    try:
        planned = await launch(planned, supervisor, narrate)
        plan = planned.plan
        loaded = tuple(supervisor.tail)
        load = check_load(planned, loaded)
        if load.splits is not None:
            narrate(f"a token's graph has {load.splits} splits")
        if not arguments.prompt:
            return await while_hosts_last(planned, _stay(supervisor, planned), sys.argv[1:])
        report = await while_hosts_last(planned, _answer(planned, arguments, supervisor), sys.argv[1:])
    finally:
        await supervisor.stop()
    remember(report)
    if arguments.json:
        from app.runtimes.load_log import breakdown, parse

        check = replace(load, breakdown=breakdown(supervisor.tail))
        print_json({"run": report, "decode_tps": report.decode_tps, "prefill_tps": report.prefill_tps,
                    "load": parse(loaded), "load_check": check, "load_differences": load.told})  # fmt: skip
    narrate(
        f"measured {rate_text(report.decode_tps)} t/s decode, {rate_text(report.prefill_tps)} t/s prefill;"
        f" predicted {speed_text(plan.decode)}"
    )
    return ExitCode.OK


async def _answer(planned: PlannedRun, arguments: argparse.Namespace, supervisor: Supervisor) -> RunReport:
    timings, answers = [], []
    for prompt in arguments.prompt:
        pieces: list[str] = []

        def take(text: str, pieces: list[str] = pieces) -> None:
            pieces.append(text)
            if not arguments.json:
                print(text, end="", flush=True)

        url = supervisor.status.url or planned.command.url
        timings.append(await ask(url, prompt, tokens=arguments.tokens, on_text=take))
        answers.append("".join(pieces))
        if not arguments.json:
            print()
    return RunReport(planned, tuple(timings), (), tuple(answers))


async def _stay(supervisor: Supervisor, planned: PlannedRun | None = None) -> int:
    """Tell the speed now and then until the engine ends by itself or a signal comes."""
    from app.telemetry.sampler import Sampler

    said = 0.0

    def on_sample(sample: Sample) -> None:
        nonlocal said
        if sample.decode_tps is None and sample.prefill_tps is None:
            return
        if time.monotonic() - said >= _SAY_EVERY_S:
            said = time.monotonic()
            narrate(f"  {rate_text(sample.decode_tps)} t/s decode, {rate_text(sample.prefill_tps)} t/s prefill")

    sampler = Sampler(planned.machine if planned else None, on_sample=on_sample)
    sampler.watch(supervisor.status.url, supervisor.status.pid)
    sampler.start()
    narrate("Ctrl-C stops the engine")
    try:
        status = await supervisor.exited()
    finally:
        sampler.stop()
    raise EngineFailedError(status.reason, hint=status.hint)


async def _stay_with(found: EngineRecord) -> int:
    supervisor = _supervisor()
    try:
        await supervisor.adopt(found)
        return await _stay(supervisor)
    finally:
        await supervisor.stop()
