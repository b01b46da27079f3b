"""The kernel's notation for sets of CPUs: `0-3,8,10-11`."""

from __future__ import annotations

from detectors.numbers import natural

_MOST_CPUS = 8192  # CONFIG_NR_CPUS of the largest kernels: a garbled range must not fill the memory


def parse_cpulist(text: str | None) -> frozenset[int] | None:
    """The CPUs of a list; `None` for what is no list (or is absent)."""
    if text is None:
        return None
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if not part:
            continue
        low, high = natural(first), natural(last or first)
        if low is None or high is None or not low <= high < _MOST_CPUS:
            return None
        cpus.update(range(low, high + 1))
    return frozenset(cpus)
