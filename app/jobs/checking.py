"""The readiness job: what this machine is, what is wrong with it, and which engines it has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from app import store
from detectors.facts import Machine
from detectors.host import Host
from detectors.registry import detect

if TYPE_CHECKING:
    from app.readiness import Finding
    from app.runtimes.base import Engine

READ_BANDWIDTH = "cpu.read_bandwidth"
"""Name of the stored measurement: GB/s that all cores together read from RAM."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `moetune check` answers with."""

    machine: Machine
    findings: tuple[Finding, ...]
    engines: tuple[Engine, ...] | None
    """`None`: not looked for."""


def known_machine(root: str = "/") -> Machine:
    """Detect the machine and put in what was measured on it before."""
    return with_measurements(detect(Host(root)), live=root == "/")


def with_measurements(machine: Machine, *, live: bool = True) -> Machine:
    """The machine with its stored measurements in place of estimates; as it is, for a recording of another one."""
    if not live:
        return machine
    found = store.latest_measurement(machine_key(machine), READ_BANDWIDTH)
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


def measure(machine: Machine) -> float | None:
    """Measure the RAM's read bandwidth (about a second of all cores) and store it; GB/s, `None` where it cannot."""
    from detectors.bandwidth import measure_read_bandwidth

    cores = (machine.cpu.physical_cores or machine.cpu.logical_cpus) if machine.cpu else 1
    bandwidth = measure_read_bandwidth(cores)
    if bandwidth is not None:
        store.save_measurement(machine_key(machine), READ_BANDWIDTH, bandwidth, "GB/s", f"memchr, {cores} threads")
    return bandwidth


def check(root: str = "/", *, engines: bool = True) -> CheckReport:
    """Detect, judge, and list the engines of a live machine."""
    from app.readiness import judge

    machine = known_machine(root)
    found: tuple[Engine, ...] | None = None
    if engines and root == "/":
        from app.runtimes.registry import find_engines

        found = find_engines(machine=machine)
    return CheckReport(machine, judge(machine), found)
