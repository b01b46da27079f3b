"""Real machines, as users of other projects recorded them: partial trees with NULs and missing parents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.cpu import detect_cpu
from detectors.gpu_amd import detect_amd
from detectors.gpu_nvidia import detect_nvidia
from detectors.host import Host
from detectors.memory import detect_memory
from detectors.registry import detect

Unpacked = Callable[[str], Path]


def _drm_host(folder: Path) -> Host:
    """A host that shows the recorded card where the kernel would."""
    card = next(path for path in folder.rglob("card[0-9]") if path.is_dir())
    root = folder / "root"
    (root / "sys/class/drm").mkdir(parents=True)
    card.rename(root / "sys/class/drm" / card.name)
    if (kfd := card.parent / "kfd").is_dir():
        (root / "sys/class/kfd").mkdir()
        kfd.rename(root / "sys/class/kfd/kfd")
    return Host(root)


def test_a_phoenix_apu(unpacked: Unpacked) -> None:
    found = detect_amd(_drm_host(unpacked("lact/amd-phoenix.tar.bz2")))
    (device,) = found.devices
    assert found.problems == ()
    assert (device.id, device.kind, device.arch) == ("gpu:0000:64:00.0", "igpu", "gfx1103")
    assert (device.gtt_bytes, device.carveout_bytes) == (31433977856, 4 << 30)
    assert device.bandwidth_gbps == pytest.approx(102.4)


def test_a_vega_56_with_a_small_bar(unpacked: Unpacked) -> None:
    found = detect_amd(_drm_host(unpacked("lact/amd-vega56.tar.bz2")))
    (device,), (pool,) = found.devices, found.pools
    assert (device.kind, device.visible_vram_bytes) == ("dgpu", 268435456)
    assert pool.available_bytes == 8573157376 - 16613376


@pytest.mark.parametrize("name", ["amd-rx6600", "amd-rx7900xtx", "amd-rx9070xt"])
def test_a_recording_without_its_memory_is_a_problem_and_no_device(unpacked: Unpacked, name: str) -> None:
    found = detect_amd(_drm_host(unpacked(f"lact/{name}.tar.bz2")))
    assert found.devices == ()
    assert [problem.reason for problem in found.problems] == ["left out: the size of its VRAM is not known (absent)"]


@pytest.mark.parametrize("name", ["intel-b580", "nvidia-rtx4080"])
def test_other_makers_cards_are_none_of_amds(unpacked: Unpacked, name: str) -> None:
    host = _drm_host(unpacked(f"lact/{name}.tar.bz2"))
    assert detect_amd(host).devices == ()
    assert detect_amd(host).problems == ()


def test_a_hybrid_laptop(unpacked: Unpacked) -> None:
    name = "20em64t-hybrid-1p6c2t+2ca4co1t"
    host = Host(unpacked(f"hwloc/{name}.tar.bz2") / name)
    cpu = detect_cpu(host).cpu
    assert cpu is not None
    assert (cpu.model, cpu.sockets) == ("13th Gen Intel(R) Core(TM) i7-1370P", 1)
    assert (cpu.physical_cores, cpu.logical_cpus) == (14, 20)
    assert "avx_vnni" in cpu.isa
    assert detect_memory(host).pools[0].total_bytes == 32489496 * 1024


def test_a_power_host_whose_gpus_are_numa_nodes(unpacked: Unpacked) -> None:
    host = Host(unpacked("hwloc/nvidiagpunumanodes.tar.bz2") / "nvidiagpunumanodes")
    machine = detect(host)
    assert machine.cpu is not None
    assert machine.cpu.architecture == "ppc64le"
    assert machine.cpu.logical_cpus == 32
    assert any(problem.source == "gpu_nvidia" for problem in detect_nvidia(host).problems)


def test_a_four_socket_host(unpacked: Unpacked) -> None:
    name = "32amd64-4s2n4c-cgroup"
    host = Host(unpacked("hwloc/32amd64-4s2n4c-cgroup2.tar.bz2") / name)
    cpu = detect_cpu(host).cpu
    assert cpu is not None
    assert (cpu.sockets, cpu.physical_cores) == (4, 32)
