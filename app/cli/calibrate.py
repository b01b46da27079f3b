"""`moetune calibrate`: short measurements of this machine, and the constants that follow from them."""

from __future__ import annotations

import argparse
import re

from app.cli.output import narrate, painted, print_json, print_rows, print_wrapped
from app.cli.signals import Ended, end_on_signals
from app.cli.slicing import Progress
from app.errors import ExitCode
from app.jobs.calibrating import forget
from app.jobs.checking import known_machine
from app.jobs.hosts import with_network
from app.jobs.measuring import CalibrationReport, MeasuringRequest, calibrate, find_engine, report
from app.runtimes.registry import machine_with_remotes
from app.tuner.measurement import Measurement
from app.tuner.session import Began, Event, Skipped

_UNUSED = "no measurement uses it"
_FAMILY = re.compile("_(cuda|hip|vulkan|amdvlk)$")
"""Constants of the same thing that differ by the GPU's kernels."""


def run(arguments: argparse.Namespace) -> int:
    """Measure and print, or show or forget what was measured."""
    if arguments.forget:
        count = forget(known_machine())
        narrate(f"forgotten: {count} measurement" + "s" * (count != 1))
        return ExitCode.OK
    request = MeasuringRequest(
        model=arguments.model,
        full=arguments.full,
        devices=arguments.devices,
        rpc=arguments.rpc,
        engine=arguments.engine,
        force=arguments.force,
        limit_s=arguments.seconds,
    )
    if arguments.show:
        machine = known_machine()
        engine = find_engine(request, machine)
        _print(report(with_network(machine_with_remotes(machine, engine)), engine), as_json=arguments.json)
        return ExitCode.OK
    teller = _Teller()
    end_on_signals()
    try:
        found = calibrate(request, on_event=teller, on_writing=teller.writing)
    except KeyboardInterrupt as error:
        kept = f"{teller.measured} measurement" + "s" * (teller.measured != 1)
        narrate(f"\nmoetune: interrupted; {kept} kept: `moetune calibrate --show`")
        return 128 + Ended.number_of(error)
    _print(found, as_json=arguments.json)
    return ExitCode.OK if found.measurements else ExitCode.ENGINE_FAILED


class _Teller:
    """Tells on stderr what is being measured, and what came of it."""

    def __init__(self) -> None:
        self.measured = 0
        self._progress: Progress | None = None

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        if isinstance(event, Began):
            self._progress = None
            narrate(f"[{event.number}/{event.of}] {event.name}")
        elif isinstance(event, Skipped):
            narrate(f"    not measured, {event.name}: {event.why}")
        else:
            self.measured += 1
            noisy = f", noisy: the median is {event.spread:.1f} times the fastest" if event.is_noisy else ""
            narrate(f"    {event.name.rpartition(': ')[2]}: {event.ms_per_token:.2f} ms per token{noisy}")

    def writing(self, done: int, total: int) -> None:
        """How far the slice is that is being written."""
        if self._progress is None:
            self._progress = Progress("writing")
        self._progress(done, total)


def _print(found: CalibrationReport, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_report(found)


def print_report(found: CalibrationReport) -> None:
    """The report as a person wants it: what was measured, what it fixes, what it does not."""
    if not found.measurements:
        print("This machine is not calibrated for this engine: plans use the constants that ship.")
    else:
        print(painted(f"Calibrated {found.at[:10]} with {found.conditions.text}", "bold"))
        percent = 100 * (found.multiplier - 1)
        print(f"  {abs(percent):.0f} % {'more' if percent >= 0 else 'less'} time per token than most machines take")
    if found.ram is not None:
        print(f"  RAM: {found.ram.gbps:.1f} GB/s read" + ("" if found.ram.repeats else ", and it does not repeat well"))
    for endpoint, took in found.round_trips_us.items():
        print(f"  {endpoint}: " + ("does not answer" if took is None else f"{took:.0f} us there and back"))
    _print_measurements(found)
    _print_constants(found)
    if found.skipped:
        print(painted("\nNot measured", "bold"))
        for why in dict.fromkeys(one.why for one in found.skipped):
            print_wrapped(f"{why}: {'; '.join(one.name for one in found.skipped if one.why == why)}", 4, "  ")
    for note in found.notes:
        print_wrapped(f"Note: {note}", 2, "\n")


def _print_measurements(found: CalibrationReport) -> None:
    if not found.measurements:
        return
    print(painted("\n  ms/token  spread   model  measured", "bold"))
    said = {held.name: held for held in found.held}
    for one in found.measurements:
        held = said.get(one.name)
        off = f"{100 * (held.predicted_ms / held.measured_ms - 1):+6.0f} %" if held else "     n/a"
        print_wrapped(one.name, 28, f"  {one.ms_per_token:8.2f}  {_spread(one)}{off}  ")


def _spread(one: Measurement) -> str:
    return f"{one.spread:5.2f}{'!' if one.is_noisy else ' '}"


def _print_constants(found: CalibrationReport) -> None:
    if found.identified:
        print(painted("\nConstants of this machine", "bold"))
        print_rows(
            (name, f"{one.value:.3g} ({one.low:.3g} to {one.high:.3g}), elsewhere {found.shipped[name]:.3g}: {one.why}")
            for name, one in found.identified.items()
        )
    told = {name: why for name, why in found.refused.items() if why != _UNUSED}
    unused = [_FAMILY.sub("_*", name) for name, why in found.refused.items() if why == _UNUSED]
    if found.measurements and (told or unused):
        print(painted("\nNot identified", "bold"))
        print_rows(told.items())
        if unused:
            print_wrapped(f"{_UNUSED}: {', '.join(dict.fromkeys(unused))}", 4, "  ")
