"""Memory and slots as people write them."""

from __future__ import annotations

import pytest

from app.hardware.memory import read_memory, theoretical_gbps
from app.hardware.pcie import read_pcie


@pytest.mark.parametrize(
    ("text", "kind", "mts", "channels"),
    [
        ("DDR5-5600 single channel", "DDR5", 5600, 1),
        ("DDR4-3200", "DDR4", 3200, None),
        ("ddr4 3200", "DDR4", 3200, None),
        ("6000MHz DDR5", "DDR5", 6000, None),
        ("dual channel DDR5@6400", "DDR5", 6400, 2),
        ("12ch DDR5-6400 RDIMM", "DDR5", 6400, 12),
        ("LPDDR5X unified", "LPDDR5X", None, None),
        ("DDR5-6000 (found running at 2000 MT/s at first)", "DDR5", 6000, None),
        ("DDR4 (16+32GB mismatched)", "DDR4", None, None),
        ("", None, None, None),
    ],
)
def test_memory(text: str, kind: str | None, mts: int | None, channels: int | None) -> None:
    words = read_memory(text)
    assert (words.type, words.mts, words.channels) == (kind, mts, channels)
    assert not words.unknown


def test_modules_are_counted_and_other_words_are_unknown() -> None:
    assert read_memory("8x DDR5-4800 RDIMM").modules == 8
    assert read_memory("2x48GB DDR5 6400").modules == 2
    assert read_memory("LPDDR5X-8000 256-bit").bits == 256
    assert read_memory("quick").unknown


def test_channels_times_speed_times_eight_bytes() -> None:
    assert theoretical_gbps(8 * 64, 4800) == pytest.approx(307.2)


@pytest.mark.parametrize(
    ("text", "gbps"),
    [
        ("PCIe 5.0 x16", 63.0),
        ("gen4 x4", 7.88),
        ("5x16", 63.0),
        ("4.0 x4", 7.88),
        ("OCuLink", 7.88),
        ("Gen5 x8", 31.5),
        ("PCIe x16 4.0", 31.5),
        ("PCI-E 3.0 16x", 15.76),
        ("pcie4x4", 7.88),
        ("PCIe4 x16 h2d 26.08 GB/s measured", 26.08),
        ("OCuLink dropped to PCIe 3.0 x4 (cable errors; ~1.1 GB/s H2D measured)", 1.1),
        ("link 53.0 GB/s measured", 53.0),
        ("PCIe 4.0", 31.5),
        ("USB4", None),
        ("Thunderbolt 4 PCIe 3.0 x4", None),
        ("fast", None),
        ("", None),
    ],
)
def test_slots(text: str, gbps: float | None) -> None:
    assert read_pcie(text).gbps == (None if gbps is None else pytest.approx(gbps, rel=0.002))


def test_peers_are_told_apart_from_slots() -> None:
    words = read_pcie("PCIe 4.0 x4; peer copy ~6.4 GB/s, 24 us per 20 KB")
    assert words.gbps == pytest.approx(7.876)
    assert (words.peer_gbps, words.peer_to_peer) == (6.4, True)
    assert read_pcie("PCIe 5.0 x16; no P2P").peer_to_peer is False
    assert read_pcie("PCIe 4.0").assumed == "16 lanes are assumed"
    assert not read_pcie("fast").understood
    assert read_pcie("USB4").understood
