"""Slots by what people call them: `PCIe 5.0 x16`, `gen4 x4`, `5x16`, `OCuLink`, `PCIe4 x16 h2d 26.08 GB/s measured`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.facts import PCIE_LANE_GBPS

GTPS = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0, 5: 32.0, 6: 64.0}
"""Generation -> GT/s of a lane."""
_GENERATION = re.compile(
    r"(?:pci[\s-]*e(?:xpress)?|gen(?:eration)?)[\s.-]*(?:gen)?[\s.-]*([1-6])(?:\.0)?(?![\d.]*\s*gb)", re.IGNORECASE
)
_DECIMAL = re.compile(r"(?<![\w.])([1-6])\.0(?!\s*[x×@\d])")
_SHORT = re.compile(r"(?<![\w.])([1-6])(?:\.0)?\s*[x×@]\s*(16|8|4|2|1)(?!\d)", re.IGNORECASE)
_LANES = re.compile(r"[x×]\s*(16|8|4|2|1)(?!\d)|(?<!\d)(16|8|4|2|1)\s*(?:[x×](?![\s\d])|lanes?\b)", re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(gb|gib)/s", re.IGNORECASE)
_PEER = re.compile(r"peer|p2p", re.IGNORECASE)
_TUNNELS = re.compile(r"thunderbolt|usb\s*4|\btb[345]\b", re.IGNORECASE)
_PARTS = re.compile(r"[;,]|\+|\beach\b|\bboth\b", re.IGNORECASE)
_FULL_WIDTH = 16
_OCULINK = (4, 4)
"""Generation and lanes of OCuLink as it is sold (SFF-8611 over PCIe 4.0)."""
_GIB = 1.073741824


@dataclass(frozen=True, slots=True)
class PcieWords:
    """What a description of a slot says; `None` where it does not."""

    generation: int | None = None
    lanes: int | None = None
    measured_gbps: float | None = None
    """A bandwidth between host and device that is stated, in one direction."""
    peer_gbps: float | None = None
    """A bandwidth between two devices that is stated."""
    peer_to_peer: bool | None = None
    """`no P2P`: False; a peer copy is stated: True."""
    tunnelled: bool = False
    """Over Thunderbolt or USB4."""
    assumed: str = ""

    @property
    def gbps(self) -> float | None:
        """GB/s in one direction: as stated, else by generation and lanes; `None`: not known."""
        if self.measured_gbps is not None:
            return self.measured_gbps
        if self.generation is None or self.tunnelled:
            return None
        return PCIE_LANE_GBPS[GTPS[self.generation]] * (self.lanes or _FULL_WIDTH)

    @property
    def understood(self) -> bool:
        """Whether anything in it said how fast the slot is."""
        return self.gbps is not None or self.tunnelled


def read_pcie(text: str | None) -> PcieWords:
    """Read a description of the slots of discrete GPUs; where it has several parts, the first with a speed counts."""
    if not text or not text.strip():
        return PcieWords()
    parts = [part for part in _PARTS.split(text) if part.strip()]
    read = [_part(part) for part in parts]
    first = next((part for part in read if part.generation is not None), None) or _first_measured(read) or PcieWords()
    peers = next((part.peer_gbps for part in read if part.peer_gbps is not None), None)
    denied = re.search(r"\bno[\s-]+(?:p2p|peer)|(?:p2p|peer)\S*\s+off", text, re.IGNORECASE)
    said = False if denied else True if _PEER.search(text) else None
    measured = first.measured_gbps or next((part.measured_gbps for part in read if part.measured_gbps), None)
    return PcieWords(
        generation=first.generation,
        lanes=first.lanes,
        measured_gbps=measured,
        peer_gbps=peers,
        peer_to_peer=said,
        tunnelled=any(part.tunnelled for part in read),
        assumed="16 lanes are assumed" if first.generation and first.lanes is None and measured is None else "",
    )


def _first_measured(read: list[PcieWords]) -> PcieWords | None:
    return next((part for part in read if part.measured_gbps is not None), None)


def _part(text: str) -> PcieWords:
    rate = _RATE.search(text)
    gbps = float(rate[1]) * (_GIB if rate[2].lower() == "gib" else 1.0) if rate else None
    plain = _RATE.sub(" ", text)
    peer = _PEER.search(text) is not None
    generation, lanes = _speed(plain)
    if generation is None and re.search(r"oculink", plain, re.IGNORECASE):
        generation, lanes = _OCULINK
    return PcieWords(
        generation=generation,
        lanes=lanes,
        measured_gbps=None if peer else gbps,
        peer_gbps=gbps if peer else None,
        tunnelled=_TUNNELS.search(plain) is not None,
    )


def _speed(text: str) -> tuple[int | None, int | None]:
    named = _GENERATION.search(text) or _DECIMAL.search(text)
    rest = text[named.end() :] if named else text
    lanes = _LANES.search(rest) or _LANES.search(text[: named.start()] if named else "")
    if named:
        return int(named[1]), int(lanes[1] or lanes[2]) if lanes else None
    short = _SHORT.search(text)
    return (int(short[1]), int(short[2])) if short else (None, None)
