"""The words of `moetune bench` and `moetune history` that no other command has."""

from __future__ import annotations

import argparse

from app.units import parse_count


def add_bench(parser: argparse.ArgumentParser) -> None:
    """What to measure, and how to print it."""
    about = "MODEL may be a plan saved by `moetune plan --json`, too: it is measured as it is."
    asked = parser.add_argument_group("benchmark", about)
    asked.add_argument("--contexts", type=_counts, metavar="0,2K,...",
                       help="contexts for one sequence (default 0 to 96K, as far as the plan reaches)")  # fmt: skip
    asked.add_argument("--batches", type=_batches, metavar="1,2,4..16",
                       help="sequences at once, at context 0 and 32K (default 1..16); A..B doubles")  # fmt: skip
    asked.add_argument("--url", metavar="URL",
                       help="measure a running endpoint of any engine over HTTP; MODEL is then the name it is asked for"
                       )  # fmt: skip
    asked.add_argument("--quick", action="store_true", help="fewer points, 32 tokens each instead of 128")
    asked.add_argument("--generate", type=_positive, metavar="N", help="tokens that each sequence generates")
    asked.add_argument("--again", action="store_true", help="measure points that are known from before, too")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table for a forum post")


def _counts(text: str) -> tuple[int, ...]:
    found: set[int] = set()
    try:
        for part in text.split(","):
            first, dots, last = part.partition("..")
            low = parse_count(first)
            found.add(low)
            while dots and 0 < low < parse_count(last):
                low = min(2 * low, parse_count(last))
                found.add(low)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return tuple(sorted(found))


def _batches(text: str) -> tuple[int, ...]:
    found = _counts(text)
    if not 0 < found[0] <= found[-1] <= 256:
        raise argparse.ArgumentTypeError(f"{text!r}: give 1 to 256 sequences")
    return found


def _positive(text: str) -> int:
    found = _counts(text)
    if len(found) != 1 or not 0 < found[0] < 1 << 20:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of tokens")
    return found[0]


def add_history(parser: argparse.ArgumentParser) -> None:
    """Which benchmarks, and in which form."""
    parser.add_argument("id", nargs="?", type=int, metavar="ID", help="one benchmark; without it, lists all")
    parser.add_argument("--model", default="", metavar="TEXT", help="only models with TEXT in their name")
    parser.add_argument("--compare", nargs=2, type=int, metavar=("A", "B"), help="two benchmarks beside each other")
    parser.add_argument("--plot", action="store_true", help="draw the curves (of the newest one where none is named)")
    parser.add_argument("--csv", metavar="FILE", help="write the points as CSV")
    parser.add_argument("--svg", metavar="FILE", help="write the curves as SVG")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table for a forum post")
