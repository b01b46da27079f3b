"""`moetune host`: other hosts whose devices plans may use."""

from __future__ import annotations

import argparse

from app.cli.output import narrate, print_json, print_rows
from app.errors import ExitCode
from app.jobs.hosts import HostReport, add_host, list_hosts, remove_host
from app.units import bytes_text


def run(arguments: argparse.Namespace) -> int:
    """Add, list or remove."""
    actions = {"add": _add, "list": _list, "remove": _remove}
    return actions[arguments.action](arguments)


def _add(arguments: argparse.Namespace) -> int:
    report = add_host(arguments.where, arguments.name, always=arguments.always)
    if arguments.json:
        print_json(report)
        return ExitCode.OK
    _print(report)
    name = report.host.name
    narrate("Every plan may use it." if report.host.always else f"Plans may use it with --rpc {name}.")
    narrate(f"How fast its devices are, `moetune calibrate --rpc {name}` measures.")
    return ExitCode.OK


def _list(arguments: argparse.Namespace) -> int:
    reports = list_hosts(ask=not arguments.no_ask)
    if arguments.json:
        print_json(reports)
        return ExitCode.OK
    for report in reports:
        _print(report)
    if not reports:
        narrate("No host is known: `moetune rpc-serve` there, then `moetune host add NAME` here.")
    return ExitCode.OK


def _remove(arguments: argparse.Namespace) -> int:
    removed = remove_host(arguments.name)
    narrate(f"forgotten: {removed.name} ({removed.endpoint})")
    return ExitCode.OK


def _print(report: HostReport) -> None:
    host, facts = report.host, report.facts
    print(f"{'✗' if report.trouble else '●'} {host.name} ({host.endpoint}){', always used' if host.always else ''}")
    rows = []
    if report.trouble:
        rows.append(("now", report.trouble))
    for number, (free, total) in enumerate(facts.memory_bytes if facts is not None else ()):
        rows.append((f"device {number}", f"{bytes_text(total)}, {bytes_text(free)} free"))
    rows.append(("network", _network(report)))
    print_rows(rows, indent=4)


def _network(report: HostReport) -> str:
    if report.round_trip_us is None:
        return "not measured"
    trip = f"{report.round_trip_us / 1e3:.2f} ms there and back"
    if report.bandwidth_gbps is None:
        why = report.facts.link.why if report.facts is not None else ""
        return f"{trip}; bandwidth n/a{f': {why}' if why else ''}"
    return f"{trip}, {1e3 * report.bandwidth_gbps:.3g} MB/s; measured {report.measured_at[:10]}"
