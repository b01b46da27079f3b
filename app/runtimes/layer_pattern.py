"""Regular expressions for sets of layer numbers, as llama.cpp's `-ot` takes them. Pure.

A pattern of `-ot` ends at the first comma or equals sign, so that neither repetitions nor look-ahead are possible;
numbers are therefore grouped by all their digits but the last: 12 to 39 is `1[2-9]|[23][0-9]`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def numbers_pattern(numbers: Iterable[int]) -> str:
    """Alternatives, without parentheses, that match these numbers as a whole and no others.

    Args:
        numbers: natural numbers; there is at least one.
    """
    endings: dict[str, list[str]] = {}
    for number in sorted(set(numbers)):
        text = str(number)
        endings.setdefault(text[:-1], []).append(text[-1])
    starts: dict[tuple[int, str], list[str]] = {}
    for start, digits in endings.items():
        starts.setdefault((len(start), digit_class(digits)), []).append(start)
    return "|".join(_start(group) + ending for (_, ending), group in starts.items())


def digit_class(digits: Sequence[str]) -> str:
    """`7`, `[2-9]`, `[0258]`: one of these digits, which are in order."""
    if len(digits) == 1:
        return digits[0]
    runs: list[list[str]] = []
    for digit in digits:
        if runs and ord(digit) == ord(runs[-1][-1]) + 1:
            runs[-1].append(digit)
        else:
            runs.append([digit])
    inside = "".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else "".join(run) for run in runs)
    return f"[{inside}]"


def _start(starts: Sequence[str]) -> str:
    """The digits before the last, of numbers that share their last digits."""
    if len(starts) == 1:
        return starts[0]
    if len(starts[0]) == 1:
        return digit_class(starts)
    return f"({numbers_pattern(map(int, starts))})"
