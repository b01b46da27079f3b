"""`moetune demo`: the whole program once. In a terminal the UI shows the run; the summary is printed in any case."""

from __future__ import annotations

import argparse
import sys
import time

from app.cli.machine import print_machine
from app.cli.output import narrate, print_json
from app.cli.plan import command_text, print_plan
from app.cli.signals import run_until_signal
from app.cli.slicing import Progress
from app.errors import ExitCode
from app.jobs.demo import PROMPTS, drive, plan_demo, write_demo_model
from app.jobs.planning import PlannedRun
from app.jobs.running import RunReport, remember
from app.launch.supervisor import EngineStatus, Supervisor
from app.solver.explain import placement_text, speed_text
from app.telemetry.sample import Sample
from app.units import rate_text

_BAR = 40
_BUSY_CORES = 0.2
"""Other load above this many cores is worth a word: a thread that waits at a barrier waits for the slowest."""


def run(arguments: argparse.Namespace) -> int:
    """Write the model, plan it, run it, and sum up."""
    narrate("1/4 the model: small, but with the shapes of gpt-oss, and random weights")
    started = time.monotonic()
    path, was_there = write_demo_model(Progress("writing"))
    narrate(f"    {path}{' (there already)' if was_there else ''}")
    narrate("2/4 the machine and the plan")
    planned = plan_demo(path, lambda text: narrate(f"    {text}"))
    if sys.stdin.isatty() and sys.stdout.isatty() and not (arguments.plain or arguments.json):
        return _in_terminal(planned)
    if not arguments.json:
        print_machine(planned.machine)
        print()
        print_plan(planned)
        sys.stdout.flush()
    narrate(f"3/4 the run: {command_text(planned.command)}")
    report: list[RunReport] = []

    async def main() -> int:
        supervisor = Supervisor(on_state=_say_state)
        report.append(await drive(planned, supervisor, seconds=arguments.seconds, on_sample=_Bars(planned)))
        return ExitCode.OK

    code = run_until_signal(main())
    if code == ExitCode.OK:
        narrate(f"4/4 done in {time.monotonic() - started:.0f} s")
        _sum_up(report[0], as_json=arguments.json)
    return code


def _in_terminal(planned: PlannedRun) -> int:
    from app.ui.app import MoetuneApp

    app = MoetuneApp(planned=planned, launch_now=True, prompts=PROMPTS)
    app.run()
    code = app.return_code or ExitCode.OK
    report = RunReport(planned, tuple(app.engine.finished), tuple(app.engine.history), ())
    if code == ExitCode.OK and report.timings:
        remember(report)
        print_machine(planned.machine)
        _sum_up(report, as_json=False)
    return code


def _say_state(status: EngineStatus) -> None:
    narrate(f"    engine {status.state.value}{f': {status.reason}' if status.reason else ''}")


class _Bars:
    """The live chart where there is no terminal: one line a second."""

    def __init__(self, planned: PlannedRun) -> None:
        self.top = planned.plan.decode.high
        self.said = 0.0

    def __call__(self, sample: Sample) -> None:
        """Draw a sample, if the last one is a second old."""
        if time.monotonic() - self.said < 1.0 or (sample.decode_tps is None and sample.prefill_tps is None):
            return
        self.said = time.monotonic()
        decode = sample.decode_tps or 0.0
        self.top = max(self.top, decode)
        bar = "█" * round(_BAR * decode / self.top)
        narrate(
            f"    {rate_text(sample.decode_tps):>5} t/s decode {bar:<{_BAR}} {rate_text(sample.prefill_tps)} prefill"
        )


def _sum_up(report: RunReport, *, as_json: bool) -> None:
    plan = report.planned.plan
    decode = report.decode_tps
    if as_json:
        print_json({
            "machine": report.planned.machine, "plan": plan, "engine": report.planned.engine,
            "decode_tps": decode, "prefill_tps": report.prefill_tps, "timings": report.timings,
        })  # fmt: skip
        return
    print("\nSummary")
    print(f"  plan       {placement_text(report.planned.machine, plan.placement, report.planned.shape)}")
    print(f"  predicted  {speed_text(plan.decode)} decode")
    verdict = ""
    if decode is not None:
        inside = plan.decode.low <= decode <= plan.decode.high
        change = 100 * (decode / plan.decode.tokens_per_s - 1)
        verdict = f" ({change:+.0f} %, {'inside' if inside else 'outside'} the range)"
    answers = f"{len(report.timings)} answers"
    print(
        f"  measured   {rate_text(decode)} t/s decode{verdict}, {rate_text(report.prefill_tps)} t/s prefill, {answers}"
    )
    if report.other_cores is not None and report.other_cores > _BUSY_CORES:
        others = f"{report.other_cores:.1f} of {_cpus(report)} CPUs"
        print(f"  note       other programs kept {others} busy meanwhile: on a quiet machine it is faster")
    _plot(report)
    print("  The weights are random, so the text is noise; the speed is real.")
    print("  Next: moetune check, moetune plan YOUR-MODEL.gguf, moetune")


def _cpus(report: RunReport) -> int:
    cpu = report.planned.machine.cpu
    return cpu.logical_cpus if cpu else 1


def _plot(report: RunReport) -> None:
    """Decode speed over time, drawn by plotext: this plot does not move."""
    points = [(sample.at, sample.decode_tps) for sample in report.samples if sample.decode_tps is not None]
    if len(points) < 3:
        return
    import plotext

    start = report.samples[0].at
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(72, 14)
    plotext.title("decode, tokens/s over seconds")
    plotext.plot([at - start for at, _ in points], [value for _, value in points], marker="braille")
    plotext.horizontal_line(report.planned.plan.decode.tokens_per_s)
    plotext.ylim(0, max(report.planned.plan.decode.tokens_per_s, *(value for _, value in points)) * 1.15)
    print(plotext.uncolorize(plotext.build()))
