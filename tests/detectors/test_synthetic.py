"""Every synthetic machine, against what is written down of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detectors.capture import capture, open_capture
from detectors.facts import Machine
from detectors.registry import detect
from detectors.scrub import command_line
from tests.fixtures.synthetic.expected import HOSTS, differences, expectations
from tests.fixtures.synthetic.machines import MACHINES, host, write

LIMIT_S = 60


def timeless(machine: Machine) -> Machine:
    """The facts alone, as they are saved: without times, the host's name and secret words of the command line."""
    kernel = machine.kernel
    if kernel is not None and kernel.command_line is not None:
        kernel = replace(kernel, command_line=command_line(kernel.command_line).strip())
    return replace(machine, elapsed_ms={}, host_name="", kernel=kernel)


@pytest.mark.parametrize("name", MACHINES)
def test_the_facts_are_those_that_are_written_down(tmp_path: Path, name: str) -> None:
    assert differences(detect(host(name, tmp_path), LIMIT_S), expectations(name)) == []


def test_every_machine_is_written_down_and_every_record_has_its_machine() -> None:
    assert {path.parent.name for path in HOSTS.glob("*/expected.toml")} == set(MACHINES)


@pytest.mark.parametrize("form", ["capture.tar.gz", "folder"])
@pytest.mark.parametrize("name", MACHINES)
def test_a_capture_shows_the_same_machine(tmp_path: Path, name: str, form: str) -> None:
    original = host(name, tmp_path / "host")
    report = capture(original, tmp_path / form)
    assert report.left_out == ()
    replayed = detect(open_capture(tmp_path / form), LIMIT_S)
    assert timeless(replayed) == timeless(detect(original, LIMIT_S))


def test_a_capture_of_a_capture_is_the_same(tmp_path: Path) -> None:
    name = "fedora43-strixhalo-conflict"
    capture(host(name, tmp_path / "host"), tmp_path / "first.tar.gz")
    capture(open_capture(tmp_path / "first.tar.gz"), tmp_path / "second")
    assert differences(detect(open_capture(tmp_path / "second"), LIMIT_S), expectations(name)) == []


def test_a_wrong_fact_would_be_noticed(tmp_path: Path) -> None:
    write("opensuse-ryzen5600-none", tmp_path)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1024 kB\nMemAvailable: 512 kB\n")
    machine = detect(open_capture(tmp_path), LIMIT_S)
    found = differences(machine, {"pools": {"ram": {"total_bytes": 2 << 20}}, "problems": ["x"]})
    assert found == ["pools.ram.total_bytes: 1048576, not 2097152", "problems: [], not ['x']"]


def test_a_gb10_is_known_without_nvml(tmp_path: Path) -> None:
    root = write("dgxos7-gb10", tmp_path)
    (root / "nvml.json").unlink()
    machine = detect(open_capture(root), LIMIT_S)
    device = machine.device("gpu:000f:01:00.0")
    assert (device.name, device.kind, device.pool_id, device.arch) == ("NVIDIA GB10", "igpu", "ram", "sm_121")
    assert [problem.source for problem in machine.problems] == ["gpu_nvidia"]
