from __future__ import annotations

from pathlib import Path

import pytest

from detectors.facts import PcieLink
from detectors.host import Host
from detectors.pcie import access, asleep, iommu_mode, slot_link
from tests.fixtures.synthetic import graphics as gpu
from tests.fixtures.synthetic.graphics import Place
from tests.fixtures.synthetic.tree import Tree

CARD = Place(("0000:00:01.1", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0"))
BUS = f"/sys/bus/pci/devices/{CARD.bdf}"


def _card(*, gen: int = 4, now: int = 16, root: int = 0x1022) -> Tree:
    tree = Tree()
    gpu.on_bus(tree, CARD, 0x1002, 0x744C, driver="amdgpu")
    gpu.link(tree, CARD, gen=gen, width=16)
    gpu.bridge(tree, CARD.above(1), 0x1002, gen=4, width=16)
    gpu.bridge(tree, CARD.above(2), 0x1002, gen=4, width=16, now=now)
    gpu.bridge(tree, CARD.above(3), root, gen=4, width=16)
    return tree


def test_the_link_is_that_of_the_cards_upstream_port(tmp_path: Path) -> None:
    found = slot_link(Host(_card(gen=5, now=8).write(tmp_path)), BUS, 0x1002)
    assert (found.current_width, found.max_width, found.max_gtps) == (8, 16, 16.0)
    assert (found.bridge_bdf, found.partner_bdf) == ("0000:01:00.0", "0000:00:01.1")
    assert found.bandwidth_gbps == pytest.approx(8 * 1.969)


def test_a_board_whose_root_ports_are_the_makers_too_is_not_climbed_into(tmp_path: Path) -> None:
    # Intel makes Arc's inner ports and the boards' root ports: a third bridge is never the card's own.
    tree = _card(root=0x8086)
    for count in range(4):
        path = CARD.above(count)
        tree.files[f"{path}/vendor"] = "0x8086\n"
    found = slot_link(Host(tree.write(tmp_path)), BUS, 0x8086)
    assert (found.bridge_bdf, found.partner_bdf) == ("0000:01:00.0", "0000:00:01.1")


@pytest.mark.parametrize("sign", ["removable", "driver"])
def test_a_tunnel_makes_the_figures_worthless(tmp_path: Path, sign: str) -> None:
    tree = _card()
    if sign == "removable":
        tree.put(CARD.above(2), removable="removable")
    else:
        tree.link(f"{CARD.above(3)}/driver", "/sys/bus/pci/drivers/thunderbolt")
    found = slot_link(Host(tree.write(tmp_path)), BUS, 0x1002)
    assert found.tunnelled
    assert found.bandwidth_gbps is None


def test_the_driver_speaks_where_the_bridges_are_not_shown(tmp_path: Path) -> None:
    tree = Tree()
    place = Place((CARD.bdf,))
    gpu.on_bus(tree, place, 0x1002, 0x744C, driver="amdgpu")
    gpu.link(tree, place, gen=4, width=16)
    tree.put(place.path, pp_dpm_pcie="0: 2.5GT/s, x1 619Mhz *\n1: 8.0GT/s, x4 619Mhz \n2: 16.0GT/s, x4 619Mhz *")
    found = slot_link(Host(tree.write(tmp_path)), BUS, 0x1002)
    assert (found.current_width, found.max_width, found.max_gtps, found.source) == (4, 4, 16.0, "pp_dpm_pcie")


def test_a_sleeping_card_is_not_asked(tmp_path: Path) -> None:
    tree = _card()
    tree.put(CARD.path, power__runtime_status="suspended")
    host = Host(tree.write(tmp_path))
    assert asleep(host, BUS)
    assert slot_link(host, BUS, 0x1002) == PcieLink(why="asleep: asking would wake it")


def test_unknown_speeds_are_unknown(tmp_path: Path) -> None:
    tree = _card()
    tree.put(CARD.above(2), max_link_speed="Unknown", max_link_width=0, current_link_speed="Unknown")
    tree.put(CARD.above(2), current_link_width=63)
    found = slot_link(Host(tree.write(tmp_path)), BUS, 0x1002)
    assert (found.current_gtps, found.current_width, found.card_width) == (None, None, None)


def test_the_iommu_is_off_without_a_group_and_unknown_without_a_device(tmp_path: Path) -> None:
    tree = _card()
    host = Host(tree.write(tmp_path))
    assert iommu_mode(host, BUS) == "DMA-FQ"
    assert iommu_mode(host, CARD.above(3)) is None
    (tmp_path / CARD.path.lstrip("/") / "iommu_group").unlink()
    assert iommu_mode(host, BUS) == "off"


def test_access_is_asked_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "node").touch()
    found = access(Host(), str(tmp_path / "node"))
    assert found is not None
    assert found.granted is True
    assert access(Host(), str(tmp_path / "missing")) is None
