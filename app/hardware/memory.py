"""Memory by what people call it: `DDR5-5600 single channel`, `8x DDR5-4800 RDIMM`, `LPDDR5X-8000 256-bit`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.hardware import words as w

_TYPE = re.compile(r"\b(lpddr[345]x?|ddr[2345]|hbm\d?e?|gddr\dx?)", re.IGNORECASE)
_BESIDE = re.compile(r"(?:lpddr[345]x?|ddr[2345])[\s@-]*(\d{3,5})(?!\d)", re.IGNORECASE)
_WITH_UNIT = re.compile(r"(?<![\d.])(\d{3,5})\s*(?:mt/?s|mhz|mts)\b", re.IGNORECASE)
_ALONE = re.compile(r"(?<![\d.])([1-9]\d{3})(?![\d.])")
_CHANNELS = re.compile(r"(?<![\w.])(\d{1,2})\s*-?\s*(?:ch\b|chans?\b|channels?\b)", re.IGNORECASE)
_NAMED_CHANNELS = re.compile(
    r"\b(single|dual|triple|quad|hexa|octa|eight|twelve|two|four|one)[\s-]*ch(?:annel)?s?\b", re.IGNORECASE
)
_MODULES = re.compile(r"(?<![\w.])(\d{1,2})\s*[x×]\s*(?=(?:\d+\s*g[ib]*b?\s*)?(?:lp)?ddr)", re.IGNORECASE)
_BITS = re.compile(r"(\d{2,4})[\s-]*bits?\b", re.IGNORECASE)
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:gb|gib)/s", re.IGNORECASE)
_NAMED = {
    "single": 1, "one": 1, "dual": 2, "two": 2, "triple": 3, "quad": 4, "four": 4, "hexa": 6, "octa": 8, "eight": 8,
    "twelve": 12,
}  # fmt: skip
_PLAUSIBLE_MTS = range(800, 13000)


@dataclass(frozen=True, slots=True)
class MemoryWords:
    """What a description of a machine's memory says; `None` where it does not."""

    type: str | None = None
    """`DDR5`, `LPDDR5X`."""
    mts: int | None = None
    channels: int | None = None
    """Of 64 bits."""
    bits: int | None = None
    """Width of the bus, where that is stated instead."""
    gbps: float | None = None
    """A bandwidth that the words themselves state."""
    unified: bool = False
    modules: int | None = None
    """Modules, where they are counted (`8x DDR5-4800`): no more channels than that are in use."""
    unknown: bool = False
    """Whether nothing in it was understood."""


def read_memory(text: str | None) -> MemoryWords:
    """Read a description such as `DDR5-5600 single channel`; of several speeds the first counts."""
    if not text or not text.strip():
        return MemoryWords()
    bare, inside = w.without_brackets(text)
    kind = _TYPE.search(text)
    mts = next(
        (
            int(match[1])
            for part in (bare, inside)
            for pattern in (_BESIDE, _WITH_UNIT, _ALONE)
            if (match := pattern.search(part)) and int(match[1]) in _PLAUSIBLE_MTS
        ),
        None,
    )
    counted, named = _CHANNELS.search(text), _NAMED_CHANNELS.search(text)
    modules, bits, rate = _MODULES.search(text), _BITS.search(text), _RATE.search(text)
    found = MemoryWords(
        type=kind[1].upper() if kind else None,
        mts=mts,
        channels=int(counted[1]) if counted else _NAMED[named[1].lower()] if named else None,
        bits=int(bits[1]) if bits else None,
        gbps=float(rate[1]) if rate else None,
        unified="unified" in text.lower(),
        modules=int(modules[1]) if modules else None,
    )
    return found if found != MemoryWords() else MemoryWords(unknown=True)


def theoretical_gbps(bits: int, mts: int) -> float:
    """GB/s that a bus of that many bits can move: `channels x MT/s x 8 / 1000` for channels of 64 bits."""
    return bits / 8 * mts / 1000
