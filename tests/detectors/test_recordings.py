"""Real machines, as users of other projects recorded them: partial trees with NULs and missing parents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.capture import capture, open_capture
from detectors.cpu import detect_cpu
from detectors.gpu_amd import detect_amd
from detectors.gpu_intel import detect_intel
from detectors.gpu_nvidia import detect_nvidia
from detectors.host import Host
from detectors.memory import detect_memory
from detectors.pcie import slot_link
from detectors.registry import detect
from tests.detectors.conftest import RECORDINGS
from tests.detectors.test_synthetic import timeless

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


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("amd-rx6600", "AMD Radeon RX 6600 series"),
        ("amd-rx7900xtx", "AMD Radeon RX 7900 series"),
        ("amd-rx9070xt", "AMD Radeon RX 9070 series"),
    ],
)
def test_a_recording_without_its_memory_names_the_card_that_is_left_out(
    unpacked: Unpacked, name: str, model: str
) -> None:
    found = detect_amd(_drm_host(unpacked(f"lact/{name}.tar.bz2")))
    assert found.devices == ()
    assert [problem.reason for problem in found.problems] == [
        f"{model} is left out: the size of its VRAM is not known (absent)"
    ]


def test_the_link_is_the_drivers_where_a_card_claims_its_inner_one(unpacked: Unpacked) -> None:
    host = _drm_host(unpacked("lact/amd-rx6600.tar.bz2"))
    (card,) = host.names("/sys/class/drm")
    path = f"/sys/class/drm/{card}/device"
    assert host.text(f"{path}/current_link_width") == "16"  # an RX 6600 has eight lanes
    assert slot_link(host, path, 0x1002).current_width == 8


@pytest.mark.parametrize("name", ["intel-b580", "nvidia-rtx4080"])
def test_other_makers_cards_are_none_of_amds(unpacked: Unpacked, name: str) -> None:
    host = _drm_host(unpacked(f"lact/{name}.tar.bz2"))
    assert detect_amd(host).devices == ()
    assert detect_amd(host).problems == ()


def test_an_arc_b580_whose_endpoint_says_one_lane(unpacked: Unpacked) -> None:
    found = detect_intel(_drm_host(unpacked("lact/intel-b580.tar.bz2")))
    (device,), (pool,) = found.devices, found.pools
    assert (device.name, device.driver, device.pci_id) == ("Intel Arc B580", "xe", "8086:e20b")
    assert pool.total_bytes == 12 << 30
    assert device.core_clock_mhz == 2850
    assert device.link is not None
    assert (device.link.bandwidth_gbps, device.link.why != "") == (None, True)


def test_an_rtx_4080_of_which_little_was_recorded_is_named(unpacked: Unpacked) -> None:
    found = detect_nvidia(_drm_host(unpacked("lact/nvidia-rtx4080.tar.bz2")))
    assert found.devices == ()
    assert [problem.reason for problem in found.problems] == [
        "NVML cannot be asked: its answers are not in the recording",
        "an NVIDIA GPU (10de:2704) that NVML does not show",
    ]


def test_a_hybrid_laptop(unpacked: Unpacked) -> None:
    name = "20em64t-hybrid-1p6c2t+2ca4co1t"
    host = Host(unpacked(f"hwloc/{name}.tar.bz2") / name)
    cpu = detect_cpu(host).cpu
    assert cpu is not None
    assert (cpu.model, cpu.sockets) == ("13th Gen Intel(R) Core(TM) i7-1370P", 1)
    assert (cpu.physical_cores, cpu.logical_cpus) == (14, 20)
    # Favoured cores reach 5.2 GHz, the others of the same kind 5.0, and the slow ones 3.9.
    assert [(kind.kind, kind.cores, kind.max_mhz) for kind in cpu.core_types] == [
        ("performance", 6, 5200),
        ("efficiency", 8, 3900),
    ]
    assert (cpu.decode_threads, cpu.prefill_threads) == (6, 14)
    assert [len(domain.cpus) for domain in cpu.l3_domains] == [20]
    assert "avx_vnni" in cpu.isa
    assert detect_memory(host).pools[0].total_bytes == 32489496 * 1024


def test_a_power_host_whose_gpus_are_numa_nodes(unpacked: Unpacked) -> None:
    host = Host(unpacked("hwloc/nvidiagpunumanodes.tar.bz2") / "nvidiagpunumanodes")
    machine = detect(host, 30)
    assert machine.cpu is not None
    assert machine.cpu.architecture == "ppc64le"
    assert machine.cpu.online_cpus == 32
    assert machine.cpu.logical_cpus == 16  # by its cpuset
    gpus = [node.gpu_bdf for node in machine.cpu.numa_nodes if node.gpu_bdf]
    assert len(gpus) == 6
    assert machine.memory is not None
    assert machine.memory.total_bytes == 358162944 * 1024
    assert machine.memory.gpu_node_bytes == 6 * 15728640 * 1024
    assert machine.pool("ram").total_bytes == machine.memory.total_bytes - machine.memory.gpu_node_bytes
    assert machine.pool("ram").available_bytes is not None
    assert any(problem.source == "gpu_nvidia" for problem in detect_nvidia(host).problems)


def test_a_job_that_may_use_six_cpus_of_a_four_socket_host(unpacked: Unpacked) -> None:
    name = "32amd64-4s2n4c-cgroup"
    host = Host(unpacked("hwloc/32amd64-4s2n4c-cgroup2.tar.bz2") / name)
    cpu = detect_cpu(host).cpu
    assert cpu is not None
    assert (cpu.sockets, cpu.online_cpus, cpu.physical_cores) == (4, 32, 6)
    assert (len(cpu.numa_nodes), cpu.nodes_per_socket) == (8, 2)
    assert len(cpu.numa_nodes[0].distances) == 8


def test_two_xeon_max_by_cpuid_alone(unpacked: Unpacked) -> None:
    name = "Intel-SapphireRapids-2xXeonMax9460"
    cpu = detect_cpu(Host(unpacked(f"hwloc/{name}.tar.bz2") / name)).cpu
    assert cpu is not None
    assert (cpu.model, cpu.vendor) == ("Intel (R) Xeon (R) CPU Max 9460", "GenuineIntel")
    assert (cpu.sockets, cpu.physical_cores, cpu.logical_cpus, cpu.smt) == (2, 80, 160, True)
    assert (cpu.family, cpu.model_number, cpu.stepping) == (6, 143, 8)
    assert cpu.amx is not None
    assert cpu.amx.features == ("amx_tile", "amx_int8", "amx_bf16")
    assert "avx512_fp16" in cpu.isa


def test_recordings_open_as_they_are_archived() -> None:
    archive = RECORDINGS / "hwloc/nvidiagpunumanodes.tar.bz2"
    if not archive.is_file():
        pytest.skip("the recording is not here; set MOETUNE_RECORDINGS to its folder")
    machine = detect(open_capture(archive), 30)
    assert machine.cpu is not None
    assert machine.cpu.sockets == 2


@pytest.mark.parametrize("archive", sorted(RECORDINGS.rglob("*.tar.bz2")), ids=lambda path: path.name)
def test_every_recording_captures_and_replays(tmp_path: Path, unpacked: Unpacked, archive: Path) -> None:
    folder = unpacked(str(archive.relative_to(RECORDINGS)))
    card = next((path for path in folder.rglob("card[0-9]") if path.is_dir()), None)
    host = _drm_host(folder) if card else Host(next(folder.iterdir()))
    capture(host, tmp_path / "capture.tar.gz")
    assert timeless(detect(open_capture(tmp_path / "capture.tar.gz"), 30)) == timeless(detect(host, 30))
