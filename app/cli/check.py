"""`moetune check`: the machine, its findings, its engines."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.cli.output import narrate, print_json, print_rows
from app.errors import ExitCode, UsageError
from app.jobs.checking import CheckReport, check, known_machine, measure
from app.units import bytes_text
from detectors.facts import Device, Machine

_MARKS = {
    "blocks": "✗ blocks",
    "costs": "! costs ",
    "note": "· note  ",
    "unknown": "? open  ",
    "good": "✓ good  ",
}


def run(arguments: argparse.Namespace) -> int:
    """Print the report; NOT_READY when something blocks."""
    if not Path(arguments.root).is_dir():
        raise UsageError(f"--root {arguments.root} is not a folder.", hint="Give the folder of a recorded machine.")
    if arguments.measure:
        if arguments.root != "/":
            raise UsageError("A recorded machine cannot be measured.", hint="Leave out --root or --measure.")
        narrate("measuring the RAM's read bandwidth ...")
        if measure(known_machine()) is None:
            narrate("  n/a: it could not be measured here")
    report = check(arguments.root, engines=not arguments.no_engines)
    if arguments.json:
        print_json(report)
    else:
        _print(report)
    blocked = any(finding.severity == "blocks" for finding in report.findings)
    return ExitCode.NOT_READY if blocked else ExitCode.OK


def _print(report: CheckReport) -> None:
    print_machine(report.machine)
    print("\nFindings")
    for finding in report.findings:
        print(f"  {_MARKS[finding.severity]}  {finding.title}")
        if finding.severity == "good":
            continue
        print(f"             {finding.evidence}")
        if finding.fix is not None:
            for line in finding.fix.text.splitlines():
                print(f"             fix: {line}")
    if not report.findings:
        print("  ✓ nothing to mend")
    if report.engines is None:
        return
    print("\nEngines")
    for engine in report.engines:
        print_rows([(engine.runtime, f"{engine.version}  {', '.join(engine.backends)}  {engine.path}")])
    if not report.engines:
        print("  none: `moetune runtime build` builds llama.cpp here")


def print_machine(machine: Machine) -> None:
    """The facts as a person wants them: processor, memory, devices, kernel, and what is not known."""
    rows = []
    if machine.cpu is not None:
        cpu = machine.cpu
        cores = f"{cpu.physical_cores or 'n/a'} cores / {cpu.logical_cpus} threads"
        rows.append(("CPU", f"{cpu.model} · {cores}" + (f" · {cpu.hypervisor} VM" if cpu.hypervisor else "")))
        rows.append(("", " ".join(cpu.isa)))
    for pool in machine.pools:
        free = f", {bytes_text(pool.available_bytes)} available" if pool.available_bytes is not None else ""
        rows.append((pool.name, f"{bytes_text(pool.total_bytes)}{free}"))
    rows.extend((_label(device), _device_text(device)) for device in machine.devices)
    if machine.kernel is not None:
        rows.append(("Kernel", f"{machine.kernel.release} · {machine.kernel.distribution or 'n/a'}"))
    rows.extend((problem.source, f"n/a: {problem.reason}") for problem in machine.problems)
    print(f"Machine {machine.host_name}")
    print_rows(rows)


def _label(device: Device) -> str:
    return {"cpu": "CPU memory", "igpu": "iGPU", "dgpu": "dGPU", "remote": "Remote"}[device.kind]


def _device_text(device: Device) -> str:
    if device.bandwidth_gbps is None:
        speed = "bandwidth n/a"
        if device.kind == "cpu":
            speed += ": not measured yet (moetune check --measure)"
    else:
        speed = f"{device.bandwidth_gbps:.0f} GB/s ({device.bandwidth_basis})"
    if device.kind == "cpu":
        return speed
    limit = f" · up to {bytes_text(device.limit_bytes)}" if device.limit_bytes is not None else ""
    return f"{device.name} {device.arch or ''} · {speed}{limit}"
