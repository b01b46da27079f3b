"""Machines that are no Linux, and hosts that show nothing."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from detectors import questions
from detectors.capture import capture, open_capture
from detectors.host import Host
from detectors.registry import detect

MAC = {
    "system": "Darwin",
    "machine": "arm64",
    "tool sysctl -n machdep.cpu.brand_string": "Apple M4 Max\n",
    "tool sysctl -n hw.memsize": "137438953472\n",
    "tool sysctl -n hw.physicalcpu": "16\n",
    "tool sysctl -n hw.logicalcpu": "16\n",
    "tool sysctl -n kern.osrelease": "25.1.0\n",
    "tool vm_stat": "Statistics: (page size of 16384 bytes)\nPages free:   1000.\nPages inactive: 24.\n",
}
WINDOWS = {
    "system": "Windows",
    "machine": "x86_64",
    "windows_memory": [68719476736, 34359738368],
    "environment": {"PROCESSOR_IDENTIFIER": "AMD64 Family 25 Model 97, AuthenticAMD"},
}


def _host(tmp_path: Path, answers: dict[str, object]) -> Host:
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    return Host(tmp_path)


def test_a_mac_has_a_processor_and_memory_and_says_what_is_missing(tmp_path: Path) -> None:
    machine = detect(_host(tmp_path, dict(MAC)))
    assert machine.cpu is not None
    assert (machine.cpu.model, machine.cpu.vendor, machine.cpu.physical_cores) == ("Apple M4 Max", "Apple", 16)
    assert machine.pool("ram").total_bytes == 128 << 30
    assert machine.pool("ram").available_bytes == 1024 * 16384
    assert machine.kernel is not None
    assert (machine.kernel.system, machine.kernel.release) == ("Darwin", "25.1.0")
    (problem,) = machine.problems
    assert problem.source == "system"
    assert "on macOS links, memory modules and kernel parameters are not read" in problem.reason


def test_windows_has_a_processor_and_memory_and_nvidia_gpus(tmp_path: Path) -> None:
    host = _host(tmp_path, dict(WINDOWS))
    card = {"name": "NVIDIA GeForce RTX 4080", "bus_id": "00000000:01:00.0", "memory": {"total": 17 << 30, "free": 1}}
    (tmp_path / "nvml.json").write_text(json.dumps({"driver": "581.42", "devices": [card]}))
    machine = detect(host)
    assert [device.id for device in machine.devices] == ["gpu:0000:01:00.0", "cpu"]
    assert machine.pool("ram").total_bytes == 64 << 30
    assert machine.cpu is not None
    assert machine.cpu.vendor == "AMD"
    assert [problem.source for problem in machine.problems] == ["system"]


@pytest.mark.parametrize("answers", [MAC, WINDOWS], ids=["macOS", "Windows"])
def test_a_capture_from_there_shows_the_same_here(tmp_path: Path, answers: dict[str, object]) -> None:
    (tmp_path / "host").mkdir()
    host = _host(tmp_path / "host", dict(answers))
    capture(host, tmp_path / "capture.tar.gz")
    replayed, original = detect(open_capture(tmp_path / "capture.tar.gz")), detect(host)
    assert (replayed.cpu, replayed.pools, replayed.kernel) == (original.cpu, original.pools, original.kernel)


@pytest.mark.parametrize(
    ("platform", "system"), [("darwin", "Darwin"), ("win32", "Windows"), ("freebsd15", "freebsd15")]
)
def test_this_machine_as_another_system_does_not_crash(
    monkeypatch: pytest.MonkeyPatch, platform: str, system: str
) -> None:
    """What Linux alone has is taken away: /proc by another system's name, calls by their absence."""
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("sched_getaffinity", "uname", "O_NONBLOCK"):
        monkeypatch.delattr(os, name)
    machine = detect(Host(), 10)
    assert machine.kernel is not None
    assert machine.kernel.system == system
    assert machine.cpu is not None
    assert machine.cpu.logical_cpus >= 1
    assert "system" in {problem.source for problem in machine.problems}
    assert [p.reason for p in machine.problems if "did not expect" in p.reason] == []


def test_a_question_that_the_system_cannot_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert questions.ask(Host(), "affinity") is None
    assert Host().affinity() is None
    assert questions.ask(Host(), "no such question") is None
    assert questions.ask(Host(), "windows_memory") is None


def test_answers_of_a_wrong_kind_are_no_answers(tmp_path: Path) -> None:
    answers = {"affinity": "0-3", "machine": 7, "page_bytes": "x", "system": [], "environment": 3, "refused": []}
    host = _host(tmp_path, answers)
    assert (host.affinity(), host.machine(), host.page_bytes(), host.system()) == (None, None, 4096, "Linux")
    assert host.variables() == {}
    assert host.text("/missing") is None
