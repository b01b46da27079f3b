from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from detectors.amd_tables import gfx_of_version
from detectors.gpu_amd import detect_amd
from detectors.host import Host
from detectors.registry import Found, detect
from tests.fixtures.synthetic.machines import write

HostOf = Callable[[str], Host]
Tree = Callable[[dict[str, str]], Host]

CARD = "sys/class/drm/card0/device"
HALO = "fedora43-ryzenaimax395-rx7900xtx"


def _card(device: str, revision: str, **files: str) -> dict[str, str]:
    uevent = f"DRIVER=amdgpu\nPCI_ID=1002:{device}\nPCI_SLOT_NAME=0000:0b:00.0\n"
    basic = {"uevent": uevent, "vendor": "0x1002", "revision": f"0x{revision}", "mem_info_vram_total": str(8 << 30)}
    return {f"{CARD}/{name}": text for name, text in {**basic, **files}.items()}


class Watched(Host):
    """Remembers what was read."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.read: list[str] = []

    def data(self, path: str) -> bytes | None:
        self.read.append(path)
        return super().data(path)


def test_no_card_is_no_problem(recorded: HostOf) -> None:
    assert detect_amd(recorded("debian12-epycvm-none")) == Found()
    assert detect_amd(recorded("debian13-xeonw32423-rtx4090")) == Found()


def test_strix_halo_computes_from_ram_up_to_gtt_and_carve_out(recorded: HostOf) -> None:
    found = detect_amd(recorded(HALO))
    assert found.problems == ()
    halo = next(device for device in found.devices if device.kind == "igpu")
    assert (halo.id, halo.name, halo.arch) == ("gpu:0000:c5:00.0", "AMD Radeon 8060S Graphics", "gfx1151")
    assert (halo.pool_id, halo.gtt_bytes, halo.carveout_bytes) == ("ram", 67108864000, 512 << 20)
    assert halo.limit_bytes == 67108864000 + (512 << 20)
    assert (halo.bandwidth_gbps, halo.bandwidth_basis) == (256.0, "driver")


def test_the_discrete_card_beside_it_has_its_own_memory(recorded: HostOf) -> None:
    found = detect_amd(recorded(HALO))
    card = next(device for device in found.devices if device.kind == "dgpu")
    (pool,) = found.pools
    assert (card.name, card.arch, card.pool_id) == ("AMD Radeon RX 7900 XTX", "gfx1100", "vram:0000:03:00.0")
    assert card.bandwidth_gbps == pytest.approx(959.2, abs=0.1)
    assert card.visible_vram_bytes == 256 << 20
    assert (pool.total_bytes, pool.available_bytes) == (25753026560, 25453026560)


def test_nothing_is_read_that_wakes_or_asks_a_sleeping_gpu(tmp_path: Path) -> None:
    name = "fedora43-ryzen7840hs-rx7700s-asleep"
    host = Watched(str(write(name, tmp_path)))
    detect(host, 30)
    waking = ("current_link", "pp_dpm", "gpu_busy", "power1", "pcie_bw", "max_link")
    # The sleeping card is card0, at 03:00.0 below its two ports; asking those would wake the way to it.
    asleep = ("card0/device/", "0000:03:00.0/", "0000:02:00.0/", "0000:01:00.0/")
    asked = [path for path in host.read if any(place in path for place in asleep)]
    assert any("mem_info_vram_total" in path for path in asked)
    assert [path for path in asked if any(word in path for word in waking)] == []
    assert any("card1/device/hwmon" in path for path in host.read)


def test_a_card_without_kfd_is_known_by_its_graphics_core(tree: Tree) -> None:
    core = {f"ip_discovery/die/0/11/0/{part}": n for part, n in (("major", "11"), ("minor", "0"), ("revision", "3"))}
    (device,) = detect_amd(tree(_card("747E", "c8", **core))).devices
    assert (device.arch, device.kind) == ("gfx1101", "dgpu")
    assert (device.name, device.bandwidth_gbps, device.bandwidth_basis) == ("AMD Radeon RX 7800 XT", 624.0, "table")


def test_an_unknown_card_is_a_device_with_unknowns(tree: Tree) -> None:
    found = detect_amd(tree(_card("FFFF", "00")))
    (device,), (pool,) = found.devices, found.pools
    assert (device.name, device.arch, device.bandwidth_gbps) == ("AMD GPU 1002:ffff", None, None)
    assert pool.available_bytes is None


@pytest.mark.parametrize(
    ("clock", "rated", "gbps"), [("800", "6400", 102.4), ("2800", "5600", 89.6), ("1000", "", 128.0)]
)
def test_an_apu_tells_ddr_from_lpddr(tree: Tree, clock: str, rated: str, gbps: float) -> None:
    nodes = "sys/class/kfd/kfd/topology/nodes"
    gpu = f"simd_count 24\ngfx_target_version 110003\nlocation_id {0x0B << 8}\ndomain 0\n"
    files = {
        **_card("15BF", "dd"),
        f"{nodes}/0/properties": "cpu_cores_count 16\n",
        f"{nodes}/0/mem_banks/0/properties": f"mem_clk_max {rated}\n" if rated else "",
        f"{nodes}/1/properties": gpu,
        f"{nodes}/1/mem_banks/0/properties": f"width 128\nmem_clk_max {clock}\n",
    }
    (device,) = detect_amd(tree(files)).devices
    assert device.kind == "igpu"
    assert device.bandwidth_gbps == pytest.approx(gbps)


def test_an_unknown_vram_size_leaves_the_card_out_with_a_problem(tree: Tree) -> None:
    found = detect_amd(tree(_card("744C", "c8", mem_info_vram_total="?")))
    assert found.devices == ()
    assert "AMD Radeon RX 7900 XTX is left out: the size of its VRAM is not known" in found.problems[0].reason


def test_a_card_that_amdgpu_does_not_drive_is_a_problem(tree: Tree) -> None:
    bus = "sys/bus/pci/devices/0000:0b:00.0"
    found = detect_amd(tree({f"{bus}/vendor": "0x1002", f"{bus}/class": "0x030000"}))
    assert [problem.source for problem in found.problems] == ["gpu:0000:0b:00.0"]
    assert "its driver: none" in found.problems[0].reason


@pytest.mark.parametrize(
    ("version", "gfx"), [(110501, "gfx1151"), (90010, "gfx90a"), (90402, "gfx942"), (90012, "gfx90c"), (0, None)]
)
def test_targets_are_spelt_as_the_compiler_does(version: int, gfx: str | None) -> None:
    assert gfx_of_version(version) == gfx
