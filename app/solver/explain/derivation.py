"""How a number came about: its equation with the numbers in place, and the numbers that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from app.units import bytes_text
from detectors.facts import Basis


@dataclass(frozen=True, slots=True)
class Derivation:
    """One number."""

    name: str
    """What to ask for: `decode`, `experts on CPU`, `kv`."""
    value: float | None
    """`None` where the answer is a word."""
    unit: str
    result: str
    """The number as a person reads it: `3.40 ms`, `39.5 GiB`, `q8_0`."""
    equation: str
    """With the numbers in place: `636 MB / 256 GB/s x 1.37`; empty for a sum of the parts."""
    basis: Basis | None
    """How well it is known; `None`: exact, or chosen."""
    reasons: tuple[str, ...] = ()
    """Where each number in the equation comes from, one sentence each."""
    parts: tuple[Derivation, ...] = ()


def sized(name: str, size: int, equation: str, basis: Basis | None, reasons: Iterable[str]) -> Derivation:
    """A number of bytes, which the equation comes to."""
    result = bytes_text(size)
    whole = f"{equation} = {result}" if equation else ""
    return Derivation(name, float(size), "bytes", result, whole, basis, tuple(reasons))


def walk(derivations: Iterable[Derivation]) -> Iterator[tuple[str, Derivation]]:
    """Every number that can be asked for, and its parts, by name.

    A part whose name is taken already is asked for by the name of what it is part of: `prefill: experts on CPU`.
    """
    seen: set[str] = set()
    for one in derivations:
        for name, part in ((one.name, one), *((part.name, part) for part in one.parts)):
            key = name if name not in seen else f"{one.name}: {name}"
            if key not in seen:
                seen.add(key)
                yield key, part


def find(derivations: Iterable[Derivation], asked: str) -> tuple[Derivation, ...]:
    """The derivation of that name, in any case; where there is none, all whose names begin so."""
    named = {_plain(name): one for name, one in walk(derivations)}
    wanted = _plain(asked)
    if wanted in named:
        return (named[wanted],)
    return tuple(one for name, one in named.items() if wanted and name.startswith(wanted))


def _plain(name: str) -> str:
    """A name without what one need not type: case, colons, underscores."""
    return " ".join(name.lower().replace("_", " ").replace(":", " ").split())
