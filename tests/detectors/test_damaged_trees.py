"""Whatever a tree holds, the detectors answer: they are run here on trees that were damaged at random."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from app.readiness import judge
from detectors.host import Host
from detectors.registry import detect_each, merge

HOSTS = Path(__file__).parents[1] / "fixtures" / "hosts"
NAMES = sorted(path.name for path in HOSTS.iterdir() if path.is_dir())

Damage = Callable[[random.Random, bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "empty": lambda rng, data: b"",
    "truncated": lambda rng, data: data[: rng.randrange(len(data) + 1)],
    "garbled": lambda rng, data: bytes(rng.randrange(256) for _ in range(rng.randrange(200))),
    "swapped digits": lambda rng, data: bytes(
        rng.choice(b"0123456789-") if 48 <= byte <= 57 and rng.random() < 0.4 else byte for byte in data
    ),
    "huge numbers": lambda rng, data: b"9" * 5000,
    "wrong words": lambda rng, data: data.replace(b"0", b"x").replace(b":", b"="),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_no_damage_makes_a_detector_fail(tmp_path: Path, name: str, damage: str) -> None:
    rng = random.Random(f"{name} {damage}")
    copy = tmp_path / "host"
    shutil.copytree(HOSTS / name, copy, symlinks=True)
    files = [path for path in sorted(copy.rglob("*")) if path.is_file() and not path.is_symlink()]
    for share in (0.1, 0.5, 1.0):
        for file in files:
            if rng.random() < share:
                file.write_bytes(DAMAGES[damage](rng, file.read_bytes()))
        host = Host(copy)
        founds = list(detect_each(host, 20))
        failed = [p for _, found in founds for p in found.problems if "did not expect" in p.reason]
        assert failed == []
        machine = merge(host, founds)
        pools = {pool.id for pool in machine.pools}
        assert all(pool.total_bytes > 0 for pool in machine.pools)
        assert all((pool.available_bytes or 0) >= 0 for pool in machine.pools)
        assert all((device.limit_bytes or 0) >= 0 for device in machine.devices)
        assert all(device.pool_id in pools for device in machine.devices)
        judge(machine)


@pytest.mark.parametrize("name", NAMES)
def test_missing_folders_make_no_detector_fail(tmp_path: Path, name: str) -> None:
    rng = random.Random(name)
    copy = tmp_path / "host"
    shutil.copytree(HOSTS / name, copy, symlinks=True)
    for _ in range(12):
        left = [path for path in sorted(copy.rglob("*")) if path.is_dir() and not path.is_symlink()]
        if not left:
            break
        shutil.rmtree(rng.choice(left))
        founds = list(detect_each(Host(copy), 20))
        assert [p for _, found in founds for p in found.problems if "did not expect" in p.reason] == []
