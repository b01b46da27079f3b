"""The engine that a captured machine would have."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.runtimes.assumed import assumed_engine
from app.runtimes.registry import bounded_by_engine
from app.units import GIB
from detectors.registry import detect
from tests.fixtures.synthetic.machines import host


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("debian13-strixhalo-w7900-p2p", ["CPU", "ROCm0", "ROCm1"]),
        ("ubuntu2404-rtx5090-rtx3060", ["CPU", "CUDA0", "CUDA1"]),
        ("cachyos-ryzen9900x-arcb580", ["CPU", "Vulkan0"]),
        ("opensuse-ryzen5600-none", ["CPU"]),
    ],
)
def test_one_backend_serves_all_gpus(name: str, devices: list[str], tmp_path: Path) -> None:
    engine = assumed_engine(detect(host(name, tmp_path / name)))
    assert [device.name for device in engine.devices] == devices


def test_the_discrete_gpu_comes_first(tmp_path: Path) -> None:
    name = "debian13-strixhalo-w7900-p2p"
    engine = assumed_engine(detect(host(name, tmp_path / name)))
    assert "W7900" in engine.devices[1].description


def test_rocm_uses_carveout_or_gtt_but_not_both(tmp_path: Path) -> None:
    name = "bazzite-strixhalo-carveout"
    machine = detect(host(name, tmp_path / name))
    igpu = next(device for device in machine.devices if device.kind == "igpu")
    assert igpu.gtt_bytes is not None
    assert igpu.carveout_bytes is not None
    bounded = bounded_by_engine(machine, assumed_engine(machine)).device(igpu.id)
    assert bounded.limit_bytes == max(igpu.gtt_bytes, igpu.carveout_bytes)
    assert bounded.limit_bytes < igpu.gtt_bytes + igpu.carveout_bytes - GIB
