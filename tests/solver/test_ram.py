"""The CPU's bandwidth where nobody measured it: the modules', bounded by the chiplets' links."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.solver.decode import weight_coefficient
from app.solver.model import Policy, Workload
from app.solver.ram import bus_bandwidth, with_ram_bandwidth
from app.solver.search import solve
from detectors.facts import CacheDomain, Cpu, Device, Machine, MemoryBus, MemoryFacts
from detectors.registry import detect
from tests.fixtures.synthetic.machines import host
from tests.solver import machines


def with_bus(theoretical: float | None, cpu: Cpu) -> Machine:
    memory = MemoryFacts(96 << 30, bus=MemoryBus(theoretical_gbps=theoretical))
    return replace(machines.plain(ram_gib=96), memory=memory, cpu=cpu)


def amd(family: int, model: int, caches: int) -> Cpu:
    domains = tuple(CacheDomain((i,)) for i in range(caches))
    return Cpu(
        "AMD", "AuthenticAMD", "x86_64", 1, 16, 32, family=family, model_number=model, l3_domains=domains
    )  # fmt: skip


INTEL = Cpu("i9", "GenuineIntel", "x86_64", 1, 8, 16, family=6)


@pytest.mark.parametrize(
    ("cpu", "theoretical", "expected"),
    [
        (INTEL, 96.0, 96.0),
        (amd(26, 112, 2), 256.0, 120.0),
        (amd(25, 17, 8), 460.8, 460.8),
        (amd(25, 33, 1), 51.2, 47.0),
        (amd(23, 49, 4), 204.8, 94.0),
        (amd(25, 97, 2), 57.6, 57.6),
    ],
    ids=["intel", "strix-halo", "epyc-genoa", "one-zen-3-chiplet", "rome-with-two-chiplets", "two-zen-4-chiplets"],
)
def test_modules_or_links_whichever_is_less(cpu: Cpu, theoretical: float, expected: float) -> None:
    found = bus_bandwidth(with_bus(theoretical, cpu))
    assert found is not None
    assert found[0] == pytest.approx(expected)


def test_unknown_modules_stay_unknown() -> None:
    machine = with_bus(None, INTEL)
    assert bus_bandwidth(machine) is None
    assert with_ram_bandwidth(machine) is machine


def test_a_measurement_counts_most_and_only_once() -> None:
    machine = with_bus(96.0, INTEL)
    cpu = replace(machine.devices[0], bandwidth_gbps=60.0, bandwidth_basis="measured")
    mixed = with_ram_bandwidth(replace(machine, devices=(cpu,)))
    assert mixed.devices[0].bandwidth_gbps == pytest.approx(75.0**0.75 * 96.0**0.25)
    assert with_ram_bandwidth(mixed) is mixed


def test_a_measurement_stands_where_nothing_is_known_of_the_modules() -> None:
    machine = with_bus(None, INTEL)
    cpu = replace(machine.devices[0], bandwidth_gbps=60.0, bandwidth_basis="measured")
    assert with_ram_bandwidth(replace(machine, devices=(cpu,))).devices == (cpu,)


def test_a_guess_is_not_taken_for_the_sum_of_two_sockets() -> None:
    two, one = replace(INTEL, sockets=2), INTEL
    guessed = Device("cpu", "cpu", "CPU", "Intel", "ram")
    known = replace(guessed, bandwidth_gbps=563.0, bandwidth_basis="driver")
    assert weight_coefficient(guessed, two) == weight_coefficient(guessed, one)
    assert weight_coefficient(known, two) != weight_coefficient(known, one)


def test_twelve_channels_beat_one(tmp_path: Path) -> None:
    model = machines.gpt_oss_120b()
    epyc, desktop = (
        detect(host(name, tmp_path / name)) for name in ("proxmox9-epyc9554-nps4", "mint22-ryzen7950x-rtx3090-x4")
    )
    on_cpu = Policy(devices=("cpu",))
    desktop = replace(desktop, pools=tuple(replace(pool, available_bytes=90 << 30) for pool in desktop.pools))
    fast, slow = (solve(machines.scene(machine, model), Workload(), on_cpu).decode for machine in (epyc, desktop))
    assert fast.tokens_per_s > 2 * slow.tokens_per_s
    assert fast.basis != "estimated"
