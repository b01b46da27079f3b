from __future__ import annotations

import struct
from pathlib import Path

import pytest

from detectors.host import Host
from detectors.memory_bus import memory_bus
from detectors.scrub import Scrub
from tests.fixtures.synthetic.processor import modules
from tests.fixtures.synthetic.tree import Tree


def _module(size: int, locator: bytes, bank: bytes, serial: bytes, *, large: int = 0) -> bytes:
    """A type 17 structure of 40 bytes, DDR5 at 5600 of 6000."""
    body = bytearray(40)
    body[0:2] = (17, 40)
    struct.pack_into("<H", body, 0x0A, 64)
    struct.pack_into("<H", body, 0x0C, size)
    body[0x10:0x13] = (1, 2, 0x22)
    struct.pack_into("<H", body, 0x15, 6000)
    body[0x18] = 3
    struct.pack_into("<I", body, 0x1C, large)
    struct.pack_into("<H", body, 0x20, 5600)
    return bytes(body) + b"\0".join((locator, bank, serial)) + b"\0\0"


TABLE = (
    b"\x01\x04\x00\x00Maker\0SN-SECRET\0\0"
    + _module(16384, b"DIMM_A2", b"P0 CHANNEL A", b"SN-1")
    + _module(0, b"DIMM_A1", b"P0 CHANNEL A", b"NO")
    + _module(0x7FFF, b"DIMM_B2", b"P0 CHANNEL B", b"SN-2", large=65536)
)


def _tables(tmp_path: Path, data: bytes) -> Host:
    folder = tmp_path / "sys/firmware/dmi/tables"
    folder.mkdir(parents=True)
    (folder / "DMI").write_bytes(data)
    return Host(tmp_path)


def test_the_firmwares_tables_answer_where_udev_does_not(tmp_path: Path) -> None:
    bus = memory_bus(_tables(tmp_path, TABLE))
    assert bus is not None
    assert (bus.source, bus.slots, bus.channels, bus.type) == ("smbios", 3, 2, "DDR5")
    assert (bus.rated_mts, bus.configured_mts, bus.theoretical_gbps) == (6000, 5600, 89.6)
    assert [module.size_bytes >> 30 for module in bus.modules] == [16, 64]
    assert [module.locator for module in bus.modules] == ["DIMM_A2", "DIMM_B2"]


def test_a_captured_table_has_no_serial_numbers(tmp_path: Path) -> None:
    saved = Scrub([], []).file("/sys/firmware/dmi/tables/DMI", TABLE)
    assert saved is not None
    assert b"SN-" not in saved
    (tmp_path / "saved").mkdir()
    assert memory_bus(_tables(tmp_path / "saved", saved)) == memory_bus(_tables(tmp_path, TABLE))


@pytest.mark.parametrize("end", range(0, len(TABLE), 7))
def test_a_truncated_table_is_read_as_far_as_it_goes(tmp_path: Path, end: int) -> None:
    bus = memory_bus(_tables(tmp_path, TABLE[:end]))
    assert bus is None or len(bus.modules) <= 2


@pytest.mark.parametrize(
    ("slots", "channels"),
    [
        ([("DIMM 0", "P0 CHANNEL A"), ("DIMM 1", "P0 CHANNEL A"), ("DIMM 0", "P0 CHANNEL B")], 2),
        ([("Controller0-ChannelA-DIMM0", "BANK 0"), ("Controller1-ChannelA-DIMM0", "BANK 0")], 2),
        ([("CPU1_DIMM_A1", "NODE 1"), ("CPU2_DIMM_A1", "NODE 2")], 2),
        ([("P1-DIMMA1", "P0_Node0_Channel0_Dimm0"), ("P1-DIMME1", "P0_Node1_Channel0_Dimm0")], 2),
        ([("DIMM_A2", "BANK 1"), ("DIMM_B2", "BANK 3")], 2),
        ([("A1", ""), ("A2", "")], None),
    ],
)
def test_channels_are_told_apart_by_the_slots_names(
    tmp_path: Path, slots: list[tuple[str, str]], channels: int | None
) -> None:
    tree = Tree()
    modules(tree, "DDR5", slots, gib=16, mts=4800)
    bus = memory_bus(Host(tree.write(tmp_path)))
    assert bus is not None
    assert bus.channels == channels
    assert bus.theoretical_gbps == (None if channels is None else channels * 38.4)
    assert bus.channels_how


def test_soldered_packages_of_a_type_that_is_not_known_are_told_by_their_width(tmp_path: Path) -> None:
    tree = Tree()
    modules(tree, "<OUT OF SPEC>", [(f"Motherboard {n}", "") for n in range(8)], gib=4, mts=7500, bits=16)
    bus = memory_bus(Host(tree.write(tmp_path)))
    assert bus is not None
    assert (bus.type, bus.bits, bus.theoretical_gbps) == (None, 128, 120.0)


def test_kfd_knows_the_speed_where_nothing_else_does(tmp_path: Path) -> None:
    tree = Tree()
    tree.text("/sys/class/kfd/kfd/topology/nodes/0/mem_banks/0/properties", "heap_type 0\nmem_clk_max 5600\n")
    bus = memory_bus(Host(tree.write(tmp_path)))
    assert bus is not None
    assert (bus.source, bus.rated_mts, bus.theoretical_gbps) == ("kfd", 5600, None)
    assert memory_bus(Host(tmp_path / "empty")) is None
