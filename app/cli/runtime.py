"""`moetune runtime`: the engines that were found, and the build of llama.cpp."""

from __future__ import annotations

import argparse
import shlex
import sys
import threading
import time

from app.cli.output import narrate, print_json, print_rows, print_wrapped
from app.errors import ExitCode, UsageError
from app.jobs.checking import known_machine
from app.jobs.hosts import hosts_in_use
from app.runtimes.base import Engine
from app.runtimes.build import BuildPlan, BuildProgress, build, installed_builds, plan_build, remove
from app.runtimes.llama_server import Survey
from app.runtimes.registry import survey_engines
from app.units import bytes_text
from detectors.facts import Machine

_EMBEDDED_HINT = "`pip install 'moetune[embedded]'` installs the embedded one"


def run(arguments: argparse.Namespace) -> int:
    """List, build or remove."""
    actions = {"list": _list, "build": _build, "remove": _remove}
    return actions[arguments.action](arguments)


def _remove(arguments: argparse.Namespace) -> int:
    builds = installed_builds()
    if not arguments.name:
        print_json(builds) if arguments.json else print_rows([(b.path.name, b.built_at) for b in builds], indent=0)
        return ExitCode.OK
    for one in builds:
        if one.path.name == arguments.name:
            remove(one)
            narrate(f"removed {one.path}")
            return ExitCode.OK
    known = ", ".join(one.path.name for one in builds) or "none"
    raise UsageError(f"No engine that was built here is called {arguments.name}.", hint=f"There are: {known}.")


def _list(arguments: argparse.Namespace) -> int:
    survey = survey_engines(hosts_in_use(arguments.rpc).endpoints, known_machine())
    if arguments.json:
        print_json(survey)
    else:
        _print_survey(survey)
    return ExitCode.OK if survey.engines else ExitCode.NO_ENGINE


def _print_survey(survey: Survey) -> None:
    for engine in survey.engines:
        _print_engine(engine)
    for broken in survey.broken:
        print(f"✗ {broken.path} ({broken.origin})\n    cannot be used: {broken.reason}\n    {broken.hint}\n")
    if not survey.engines:
        print(f"No engine was found: `moetune runtime build` builds llama.cpp here; {_EMBEDDED_HINT}.")


def _print_engine(engine: Engine) -> None:
    print(f"● {engine.runtime} {engine.version} ({engine.origin})")
    rows = [("path", str(engine.path)), ("backends", ", ".join(engine.backends) or "n/a: it names none")]
    for device in engine.devices:
        size = ""
        if device.total_bytes is not None:
            size = f"  {bytes_text(device.total_bytes)}, {bytes_text(device.free_bytes)} free"
        known = f"  = {device.device_id}" if device.device_id not in (None, "cpu") else ""
        rows.append(("device", f"{device.name}: {device.description}{size}{known}"))
    rows.append(("tools", ", ".join(sorted(engine.tools)) or "none beside it"))
    print_rows(rows, indent=4)
    print()


def _build(arguments: argparse.Namespace) -> int:
    machine = known_machine(arguments.capture)
    plan = plan_build(machine, arguments.backend, jobs=arguments.jobs)
    if arguments.dry_run:
        if arguments.json:
            print_json(plan)
        else:
            _print_plan(plan, _why(machine, plan) if arguments.backend == "auto" else "")
        return ExitCode.OK
    if arguments.capture is not None:
        raise UsageError("An engine is built on the machine it is for.", hint="Add --dry-run to see how.")
    cancelled = threading.Event()
    started = time.monotonic()
    there = plan.installed and not arguments.force
    if not there:
        narrate(f"building llama.cpp ({plan.backend}): about 12 minutes of one core, once; log: {plan.log_path}")
    try:
        done = build(plan, _Steps(plan), force=arguments.force, cancelled=cancelled)
    except KeyboardInterrupt:
        cancelled.set()
        raise
    if arguments.json:
        print_json(done)
    else:
        took = "there already" if there else f"built in {time.monotonic() - started:.0f} s"
        print(f"llama.cpp {done.version} ({done.backend}), {took}: {done.path}")
    return ExitCode.OK


def _why(machine: Machine, plan: BuildPlan) -> str:
    gpus = [device for device in machine.devices if device.kind in ("igpu", "dgpu")]
    if not gpus:
        return "no GPU was detected"
    names = " and ".join(gpu.label for gpu in gpus)
    if plan.backend == "vulkan" and all(gpu.vendor == "AMD" for gpu in gpus):
        return f"it serves {names}; ROCm's compiler hipcc is not installed here: --backend hip builds for ROCm"
    return f"it serves {names}"


def _print_plan(plan: BuildPlan, why: str) -> None:
    print(f"llama.cpp {plan.version} for {plan.backend}{': built already' if plan.installed else ''}")
    if why:
        print_wrapped(f"{plan.backend}: {why}", 4, "  ")
    for need in plan.missing:
        print(f"  missing: {need}")
    for step in plan.steps:
        print(f"\n# {step.what}")
        if step.argv:
            print(shlex.join(step.argv))
    print(f"\nflags: {' '.join(f'{name}={value}' for name, value in plan.flags.items())}")
    print(f"targets: {' '.join(plan.targets)}")
    print(f"into: {plan.install_dir}")


class _Steps:
    """Tells each step, and how far the compiler is: in place on a terminal, every twentieth elsewhere."""

    def __init__(self, plan: BuildPlan) -> None:
        self.names = [step.name for step in plan.steps]
        self.what = {step.name: step.what for step in plan.steps}
        self.step = ""
        self.said = 0
        self.in_place = sys.stderr.isatty()

    def __call__(self, progress: BuildProgress) -> None:
        """Tell it, if it is news."""
        if progress.step != self.step:
            self.step, self.said = progress.step, 0
            number = self.names.index(self.step) + 1 if self.step in self.names else len(self.names)
            narrate(f"[{number}/{len(self.names)}] {self.what.get(self.step, self.step)}")
        if not progress.total:
            return
        percent = 100 * progress.done // progress.total
        if percent - self.said < (1 if self.in_place else 5):
            return
        self.said = percent
        text = f"    {percent:3d} %  {progress.done} of {progress.total}"
        narrate(f"\r{text}" if self.in_place else text, end="\n" if not self.in_place or percent == 100 else "")
