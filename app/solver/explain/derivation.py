"""How a number came about: its equation with the numbers in place, and the numbers that it is made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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


def walk(derivations: Iterable[Derivation], above: str = "") -> Iterator[tuple[str, Derivation]]:
    """Every derivation with the name it is asked for, what is above it first.

    A part whose name is taken already is asked for with the name of what it is part of before it: `prefill: experts
    on CPU`.
    """
    seen: set[str] = set()
    for name, one in _all(derivations, above):
        key = one.name if one.name not in seen else name
        if key not in seen:
            seen.add(key)
            yield key, one


def _all(derivations: Iterable[Derivation], above: str) -> Iterator[tuple[str, Derivation]]:
    for one in derivations:
        yield f"{above}: {one.name}" if above else one.name, one
        yield from _all(one.parts, above or one.name)


def find(derivations: Iterable[Derivation], asked: str) -> Derivation | None:
    """The derivation of that name, in any case; a beginning does where only one name has it."""
    named = {name.lower(): one for name, one in walk(derivations)}
    wanted = " ".join(asked.lower().replace("_", " ").split())
    if wanted in named:
        return named[wanted]
    begun = [one for name, one in named.items() if name.startswith(wanted)]
    return begun[0] if wanted and len(begun) == 1 else None
