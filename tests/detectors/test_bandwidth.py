from __future__ import annotations

import ctypes
from collections.abc import Callable

import pytest

from detectors import bandwidth
from detectors.bandwidth import measure_read_bandwidth, stream_bytes, third_level_bytes
from detectors.host import Host

Tree = Callable[[dict[str, str]], Host]


def _caches(count: int, kib: int) -> dict[str, str]:
    files = {"sys/devices/system/cpu/online": f"0-{count * 2 - 1}"}
    for cpu in range(count * 2):
        folder = f"sys/devices/system/cpu/cpu{cpu}/cache/index3"
        first = cpu // 2 * 2
        files |= {
            f"{folder}/level": "3",
            f"{folder}/size": f"{kib}K",
            f"{folder}/shared_cpu_list": f"{first}-{first + 1}",
        }
    return files


def test_a_measurement_is_a_plausible_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "stream_bytes", lambda host: 64 << 20)  # the full gigabyte takes a second to fill
    found = measure_read_bandwidth(1, budget_s=0.05)
    assert found is not None
    assert 0.5 < found < 10_000


def test_two_threads_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "stream_bytes", lambda host: 64 << 20)
    assert measure_read_bandwidth(2, budget_s=0.05) is not None


def test_without_libc_there_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str | None) -> ctypes.CDLL:
        raise OSError("no libc")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert measure_read_bandwidth(1) is None


def test_memory_that_cannot_be_had_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bandwidth, "stream_bytes", lambda host: 1 << 60)
    assert measure_read_bandwidth(2, budget_s=0.05) is None


def test_no_threads_no_measurement() -> None:
    assert measure_read_bandwidth(0) is None


def test_shared_caches_count_once(tree: Tree) -> None:
    assert third_level_bytes(tree(_caches(12, 32768))) == 12 * (32 << 20)


def test_the_stream_is_four_times_the_caches(tree: Tree) -> None:
    memory = {"proc/meminfo": f"MemTotal: {256 << 20} kB\nMemAvailable: {200 << 20} kB\n"}
    assert stream_bytes(tree({**memory, **_caches(12, 32768)})) == 4 * 12 * (32 << 20)


def test_a_small_machine_keeps_three_quarters_of_its_memory(tree: Tree) -> None:
    memory = {"proc/meminfo": f"MemTotal: {2 << 20} kB\nMemAvailable: {1 << 20} kB\n"}
    assert stream_bytes(tree(memory)) == 256 << 20
