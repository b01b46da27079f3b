"""Whatever a tree holds, the detectors answer: they are run here on trees that were damaged at random."""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.readiness import judge
from detectors.capture import capture, open_capture
from detectors.facts import Machine
from detectors.host import Host
from detectors.registry import detect, detect_each, merge
from tests.fixtures.synthetic.machines import MACHINES, write

Damage = Callable[[random.Random, bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "empty": lambda rng, data: b"",
    "truncated": lambda rng, data: data[: rng.randrange(len(data) + 1)],
    "garbled": lambda rng, data: bytes(rng.randrange(256) for _ in range(rng.randrange(200))),
    "laden with NULs": lambda rng, data: b"\0".join(bytes([byte]) for byte in data) + b"\0" * rng.randrange(9),
    "swapped digits": lambda rng, data: bytes(
        rng.choice(b"0123456789-") if 48 <= byte <= 57 and rng.random() < 0.4 else byte for byte in data
    ),
    "huge numbers": lambda rng, data: b"9" * 5000,
    "wrong words": lambda rng, data: data.replace(b"0", b"x").replace(b":", b"="),
    "wrong types": lambda rng, data: data.replace(b"[", b"{").replace(b"1", b"null").replace(b'"', b""),
}
# The machines that have a kind of hardware each, so that every reader meets every damage.
NAMES = (
    "debian13-strixhalo-w7900-p2p", "ubuntu2404-xeon6430vm-rtx4090", "ubuntu2404-rtx5090-rtx3060", "dgxos7-gb10",
    "arch-i914900kf-rtx4090", "debian12-container-memorymax", "cachyos-ryzen9900x-arcb580",
    "fedora43-ryzen7840hs-rx7700s-asleep",
)  # fmt: skip


def sane(host: Host) -> Machine:
    """The machine, checked for what must hold whatever was read."""
    founds = list(detect_each(host, 30))
    assert [p for _, found in founds for p in found.problems if "did not expect" in p.reason] == []
    machine = merge(host, founds)
    pools = {pool.id for pool in machine.pools}
    assert all(pool.total_bytes > 0 for pool in machine.pools)
    assert all((pool.available_bytes or 0) >= 0 for pool in machine.pools)
    assert all((device.limit_bytes or 0) >= 0 for device in machine.devices)
    assert all(device.pool_id in pools for device in machine.devices)
    assert len(machine.links) == len(machine.devices) * (len(machine.devices) - 1) // 2
    judge(machine)
    return machine


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_no_damage_makes_a_detector_fail(tmp_path: Path, name: str, damage: str) -> None:
    rng = random.Random(f"{name} {damage}")
    root = write(name, tmp_path / "host")
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]
    for share in (0.1, 0.5, 1.0):
        for file in files:
            if rng.random() < share:
                file.write_bytes(DAMAGES[damage](rng, file.read_bytes()))
        sane(Host(root))
    capture(Host(root), tmp_path / "capture")
    sane(open_capture(tmp_path / "capture"))


@pytest.mark.parametrize("name", NAMES)
def test_missing_folders_make_no_detector_fail(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    root = write(name, tmp_path)
    for _ in range(12):
        left = [path for path in sorted(root.rglob("*")) if path.is_dir() and not path.is_symlink()]
        if not left:
            break
        shutil.rmtree(rng.choice(left))
        sane(Host(root))


@pytest.mark.parametrize("name", MACHINES)
def test_a_machine_that_refuses_every_file_says_so(tmp_path: Path, name: str) -> None:
    root = write(name, tmp_path)
    refused = {
        f"/{path.relative_to(root)}": "permission denied" for path in root.rglob("*") if not path.name.endswith(".json")
    }
    answers = json.loads((root / "answers.json").read_text())
    (root / "answers.json").write_text(json.dumps(answers | {"refused": refused}))
    machine = sane(Host(root))
    said = [f"{problem.source}: {problem.reason}" for problem in machine.problems]
    assert "cpu: /proc/cpuinfo cannot be used: permission denied" in said
    assert "memory: the size of the memory is not known: /proc/meminfo: permission denied" in said


@pytest.mark.parametrize(
    ("path", "source", "words"),
    [
        ("/proc/cpuinfo", "cpu", "/proc/cpuinfo cannot be used: permission denied"),
        ("/proc/meminfo", "memory", "/proc/meminfo: permission denied"),
        ("/proc/cmdline", "kernel", "the kernel's command line is not known: permission denied"),
        ("/sys/class/drm/card1/device/mem_info_vram_total", "gpu:0000:03:00.0", "not known (permission denied)"),
        ("/sys/class/kfd/kfd/topology/nodes/2/properties", "gpu_amd", "denies its node 2 to this process"),
    ],
)
def test_one_refused_file_costs_its_fact_alone_and_the_fact_says_why(
    tmp_path: Path, path: str, source: str, words: str
) -> None:
    root = write("debian13-strixhalo-w7900-p2p", tmp_path)
    answers = json.loads((root / "answers.json").read_text())
    (root / "answers.json").write_text(json.dumps(answers | {"refused": {path: "permission denied"}}))
    problems = [problem for problem in detect(Host(root), 30).problems if problem.source == source]
    assert len(problems) == 1
    assert words in problems[0].reason


class Hanging(Host):
    """A file whose driver does not answer until it is told to."""

    def __init__(self, root: Path, path: str) -> None:
        super().__init__(root)
        self._path = path
        self.released = threading.Event()

    def data(self, path: str) -> bytes | None:
        if path == self._path:
            self.released.wait(30)
        return super().data(path)


@pytest.mark.parametrize(
    ("path", "late"),
    [
        ("/proc/meminfo", "memory"),
        ("/proc/cmdline", "kernel"),
        ("/sys/class/drm/card0/device/mem_info_gtt_total", "gpu_amd"),
        ("/sys/devices/system/cpu/cpu3/topology/core_cpus_list", "cpu"),
    ],
)
def test_a_file_that_hangs_costs_one_detector_and_no_more_than_the_limit(tmp_path: Path, path: str, late: str) -> None:
    host = Hanging(write("ubuntu2404-strixhalo", tmp_path), path)
    try:
        started = time.monotonic()
        machine = detect(host, 1.0)
        elapsed = time.monotonic() - started
    finally:
        host.released.set()
    assert elapsed < 3
    assert f"{late}: gave no answer within 1 s" in [f"{p.source}: {p.reason}" for p in machine.problems]
    assert (machine.cpu is None) == (late == "cpu")
    assert (machine.kernel is None) == (late == "kernel")
