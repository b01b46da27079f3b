"""`moetune check`: the machine, its findings, its engines."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.cli.machine import print_machine
from app.cli.output import narrate, painted, print_json, print_rows, print_wrapped
from app.errors import ExitCode, UsageError
from app.jobs.checking import CheckReport, check, known_machine, measure
from app.readiness import Finding, Fix, Severity, fix_script

_MARKS: dict[Severity, tuple[str, str]] = {
    "blocks": ("✗ blocks", "red"),
    "costs": ("! costs", "yellow"),
    "note": ("· note", "cyan"),
    "unknown": ("? open", "dim"),
    "good": ("✓ good", "green"),
}
_COMMANDS = (
    "sudo ",
    "echo ",
    "cat ",
    "uname",
    "moetune ",
    "docker ",
    "podman ",
    "pip",
    "rm ",
    "tuned-adm",
    "nvidia-smi",
)
"""How the lines begin that are commands, in fixes that only a person can do."""
_MARK_WIDTH = 10
_INDENT = 2 + _MARK_WIDTH


def run(arguments: argparse.Namespace) -> int:
    """Print the report. READY, COSTS or BLOCKS, by the worst finding."""
    if arguments.measure:
        _measure(arguments.capture)
    report = check(
        capture=arguments.capture,
        engines=not arguments.no_engines,
        model=arguments.model,
        context=arguments.context,
    )
    if arguments.json:
        print_json(report)
    else:
        _print(report, everything=arguments.all)
    if arguments.fix:
        _write_script(report, Path(arguments.fix))
    severities = {finding.severity for finding in report.findings}
    return ExitCode.BLOCKS if "blocks" in severities else ExitCode.COSTS if "costs" in severities else ExitCode.OK


def _measure(capture: str | None) -> None:
    if capture is not None:
        raise UsageError("A captured machine cannot be measured.", hint="Leave out --host or --measure.")
    narrate("measuring the RAM's read bandwidth, twice ...")
    measured = measure(known_machine())
    if measured is None:
        narrate("  n/a: it could not be measured here")
    elif measured.repeats:
        narrate(f"  {measured.gbps:.1f} GB/s; the runs agree within {measured.spread:.1%}")
    else:
        narrate(
            f"  {measured.gbps:.1f} GB/s, but the runs differ by {measured.spread:.0%}: something else uses the memory;"
            " measure again when it is quiet"
        )


def _write_script(report: CheckReport, path: Path) -> None:
    if path.exists():
        raise UsageError(f"{path} exists already.", hint="Give --fix a new name.")
    try:
        path.write_text(fix_script(report.findings, report.machine), encoding="utf-8")
        path.chmod(0o755)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", hint="Choose another place.") from error
    narrate(f"wrote {path}: read it, then run it; nothing was changed")


def _print(report: CheckReport, *, everything: bool) -> None:
    print_machine(report.machine)
    about = f" for {report.judged_for}" if report.judged_for else ""
    print(painted(f"\nFindings{about}, most costly first", "bold"))
    good = [finding for finding in report.findings if finding.severity == "good"]
    for finding in report.findings:
        if finding.severity != "good" or everything:
            _print_finding(finding)
    if good and not everything:
        word = "check" if len(good) == 1 else "checks"
        print(f"  {painted('✓ good', 'green')}    {len(good)} {word} passed (--all shows them)")
    _print_engines(report)


def _print_finding(finding: Finding) -> None:
    mark, style = _MARKS[finding.severity]
    lead = f"  {mark:<{_MARK_WIDTH}}"
    print_wrapped(finding.title, _INDENT, painted(lead, style))
    print_wrapped(finding.evidence, _INDENT)
    if finding.severity == "good":
        return
    print_wrapped(finding.reason, _INDENT)
    if finding.fix is not None:
        _print_fix(finding.fix)


def _print_fix(fix: Fix) -> None:
    reboots = fix.reboot and "reboot" not in fix.text
    for label, text in (
        ("fix", f"{fix.text}\nthen reboot" if reboots else fix.text),
        ("undo", fix.undo),
        ("verify", fix.verify),
    ):
        for number, line in enumerate(text.splitlines()):
            lead = f"{' ' * _INDENT}{painted(f'{label if number == 0 else str():<7}', 'bold')}"
            if fix.steps or line.startswith(_COMMANDS):
                print(f"{lead}{line}")  # a command is there to be copied: it is not broken
            else:
                print_wrapped(line, _INDENT + 7, lead)


def _print_engines(report: CheckReport) -> None:
    if report.engines is None:
        return
    print(painted("\nEngines", "bold"))
    print_rows([(e.runtime, f"{e.version} · {', '.join(e.backends)} · {e.path}") for e in report.engines])
    if not report.engines:
        print("  none: `moetune runtime build` builds llama.cpp here")
