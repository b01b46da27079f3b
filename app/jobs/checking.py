"""The readiness job: what this machine is, what is wrong with it, and which engines it has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app import store
from app.errors import NoEngineError, NoFitError, UsageError
from detectors.facts import Machine
from detectors.host import Host
from detectors.registry import detect

if TYPE_CHECKING:
    from app.readiness import Finding
    from app.runtimes.base import Engine

READ_BANDWIDTH = "cpu.read_bandwidth"
"""Name of the stored measurement: GB/s that all cores together read from RAM."""


MEASURING_RUNS = 2
MEASURING_S = 1.6
REPEATABLE_SPREAD = 0.05
"""Runs further apart than this say more about the other programs than about the memory."""

REPORT_VERSION = 1
"""Of the JSON form of a report; presets/schema/check.json describes it."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `moetune check` answers with."""

    version: int
    machine: Machine
    findings: tuple[Finding, ...]
    """Most costly first."""
    engines: tuple[Engine, ...] | None
    """`None`: not looked for."""
    judged_for: str | None = None
    """The model whose plan the findings are about; `None`: the machine as such."""


def open_host(capture: str | None = None) -> Host:
    """This host, or a captured one.

    Raises:
        UsageError: there is no such capture, or it cannot be read.
    """
    if capture is None:
        return Host()
    from detectors.capture import CaptureError, open_capture

    try:
        return open_capture(capture)
    except CaptureError as error:
        raise UsageError(f"{error}.", hint="Make one with `moetune capture FILE` on that machine.") from error


def known_machine(capture: str | None = None) -> Machine:
    """Detect the machine and add the figures that no probe gives.

    Raises:
        UsageError: the capture cannot be read.
    """
    return with_figures(detect(open_host(capture)), live=capture is None)


def with_figures(machine: Machine, *, live: bool = True) -> Machine:
    """The machine with what tables know of its GPUs, and with what was measured on it before.

    A captured machine (`live` is false) is as it was captured: nothing that was measured here is of it.
    """
    if any(device.kind in ("igpu", "dgpu") for device in machine.devices):
        from app.hardware.known import with_known_figures  # a table of 362 GPUs: 4 ms

        machine = with_known_figures(machine)
    found = store.latest_measurement(machine_key(machine), READ_BANDWIDTH) if live else None
    if found is None:
        return machine
    devices = tuple(
        replace(device, bandwidth_gbps=found.value, bandwidth_basis="measured") if device.kind == "cpu" else device
        for device in machine.devices
    )
    return replace(machine, devices=devices)


def machine_key(machine: Machine) -> str:
    """What identifies the hardware that a measurement belongs to: name, processor, cores, memory."""
    cpu = machine.cpu
    ram = sum(pool.total_bytes for pool in machine.pools if pool.id == "ram") >> 30
    parts = (machine.host_name, cpu.model if cpu else "", str(cpu.logical_cpus if cpu else 0), f"{ram} GiB")
    return " | ".join(parts)


@dataclass(frozen=True, slots=True)
class MeasuredBandwidth:
    """A measurement of the RAM, and how well it repeats."""

    gbps: float
    """The best of the runs: whatever disturbs one makes it slower."""
    spread: float
    """The slowest run's distance from the best, as a share."""

    @property
    def repeats(self) -> bool:
        """Whether the runs agree."""
        return self.spread <= REPEATABLE_SPREAD


def measure(machine: Machine) -> MeasuredBandwidth | None:
    """Measure the RAM's read bandwidth (about two seconds of all cores) and store it; `None` where it cannot."""
    from detectors.bandwidth import measure_read_bandwidth

    cores = (machine.cpu.physical_cores or machine.cpu.logical_cpus) if machine.cpu else 1
    runs = [measure_read_bandwidth(cores, budget_s=MEASURING_S / MEASURING_RUNS) for _ in range(MEASURING_RUNS)]
    found = [run for run in runs if run is not None]
    if not found:
        return None
    measured = MeasuredBandwidth(max(found), 1 - min(found) / max(found))
    detail = f"memchr, {cores} threads, {len(found)} runs, spread {measured.spread:.1%}"
    store.save_measurement(machine_key(machine), READ_BANDWIDTH, measured.gbps, "GB/s", detail)
    return measured


def check(
    *, capture: str | None = None, engines: bool = True, model: str | None = None, context: int = 8192
) -> CheckReport:
    """Detect, judge, and hold the engines against the machine.

    Args:
        capture: a captured machine in place of this one.
        engines: look for engines too; never on a captured machine.
        model: judge for the plan of this model: a file, or a name of the catalogue.
        context: tokens of context that the plan is to have.

    Raises:
        MoetuneError: the capture or the model cannot be read.
    """
    from app.readiness import judge

    machine = known_machine(capture)
    findings = judge(machine) if model is None else _for_model(machine, model, context, capture)
    found: tuple[Engine, ...] | None = None
    if engines and capture is None:
        from app.runtimes.registry import find_engines

        found = find_engines(machine=machine)
        findings = with_engines(findings, machine, found)
    return CheckReport(REPORT_VERSION, machine, findings, found, model)


def _for_model(machine: Machine, model: str, context: int, capture: str | None) -> tuple[Finding, ...]:
    """What matters for the plan of that model; without a plan that fits, for what the model would need."""
    from app.jobs.planning import PlanRequest, find_model, make_plan
    from app.readiness import Finding, judge
    from app.solver.model import Workload

    shape = find_model(model)
    try:
        request = PlanRequest(model, Workload(context=context), capture=capture)
        planned = make_plan(request, machine)
    except NoFitError as error:
        lacking = Finding("plan.fit", "blocks", f"{shape.name} does not fit", error.message, error.hint, None, 1.0)
        return lacking, *judge(machine, shape=shape)
    except NoEngineError:
        return judge(machine, shape=shape)
    return judge(planned.machine, planned.plan, shape=shape)


def with_engines(findings: tuple[Finding, ...], machine: Machine, engines: tuple[Engine, ...]) -> tuple[Finding, ...]:
    """The findings together with what is wrong between the engines and the machine, most costly first."""
    from app.readiness import SEVERITIES, EngineView, judge_engines

    views = [
        EngineView(
            f"{engine.runtime} {engine.version} at {engine.path}",
            engine.backends,
            tuple(device.device_id for device in engine.devices if device.device_id),
        )
        for engine in engines
    ]
    together = (*findings, *judge_engines(machine, views))
    return tuple(sorted(together, key=lambda one: (SEVERITIES.index(one.severity), -one.cost_share)))
