from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.facts import Device, Machine, MemoryPool, Problem
from detectors.host import Host
from detectors.registry import Found, detect, detect_each, merge, registered

HostOf = Callable[[str], Host]


def test_a_hanging_detector_is_cut_off_at_its_limit(tmp_path: Path) -> None:
    released = threading.Event()

    def hangs(host: Host) -> Found:
        released.wait(30)
        return Found()

    pool = MemoryPool("ram", "System memory", 1, 1)
    started = time.monotonic()
    founds = list(detect_each(Host(tmp_path), 0.2, {"hangs": hangs, "answers": lambda host: Found(pools=(pool,))}))
    elapsed = time.monotonic() - started
    released.set()
    assert [name for name, _ in founds] == ["answers", "hangs"]
    assert founds[0][1].pools == (pool,)
    assert founds[1][1].problems == (Problem("hangs", "gave no answer within 0.2 s"),)
    assert 0.2 <= elapsed < 2


def test_an_exception_becomes_a_problem(tmp_path: Path) -> None:
    def fails(host: Host) -> Found:
        raise KeyError("mem_info")

    machine = merge(Host(tmp_path), detect_each(Host(tmp_path), 5, {"fails": fails}))
    assert machine.problems == (Problem("fails", "failed on an answer it did not expect (KeyError: 'mem_info')"),)


def test_detectors_run_side_by_side(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=5)

    def waits(host: Host) -> Found:
        both.wait()
        return Found()

    founds = dict(detect_each(Host(tmp_path), 5, {"a": waits, "b": waits}))
    assert all(not found.problems for found in founds.values())


def test_a_device_without_its_memory_is_left_out_with_a_problem(tmp_path: Path) -> None:
    device = Device("cpu", "cpu", "Some CPU", "Some", "ram")
    machine = merge(Host(tmp_path), [("cpu", Found(devices=(device,)))])
    assert machine.devices == ()
    assert machine.problems == (Problem("cpu", "Some CPU is left out: the size of its memory is not known"),)


def test_order_does_not_depend_on_which_detector_ends_first(recorded: HostOf) -> None:
    host = recorded("fedora43-ryzenaimax395-rx7900xtx")
    founds = [(name, function(host)) for name, function in registered().items()]
    assert merge(host, founds) == merge(host, reversed(founds))


@pytest.mark.parametrize(
    "name",
    [
        "fedora43-ryzenaimax395-rx7900xtx",
        "debian13-xeonw32423-rtx4090",
        "debian12-epycvm-none",
        "ubuntu2404-gb10-gb10",
    ],
)
def test_a_recorded_host_is_known_without_problems(recorded: HostOf, name: str) -> None:
    machine = detect(recorded(name))
    assert machine.problems == ()
    assert machine.cpu is not None
    assert machine.kernel is not None
    assert set(machine.elapsed_ms) == set(registered())
    assert all(machine.pool(device.pool_id) for device in machine.devices)


def test_this_machine_is_detected() -> None:
    machine = detect()
    assert machine.cpu is not None
    assert machine.cpu.logical_cpus >= 1
    assert machine.device("cpu").pool_id == "ram"
    assert machine.pool("ram").total_bytes > 0
    assert machine.kernel is not None


def test_an_empty_tree_gives_no_facts_and_says_why(tmp_path: Path) -> None:
    machine = detect(Host(tmp_path))
    assert machine == Machine("unknown", problems=machine.problems, elapsed_ms=machine.elapsed_ms)
    assert {problem.source for problem in machine.problems} == {"cpu", "memory", "kernel"}
    assert all("absent" in p.reason or "shows none" in p.reason for p in machine.problems)
