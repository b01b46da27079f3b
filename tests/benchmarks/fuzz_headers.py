"""Fuzzing: mutated headers of every architecture are refused with a `ModelError` or read, and nothing else happens.

    python tests/benchmarks/fuzz_headers.py [--headers N] [--seed N]

Each header is that of a small model of one architecture with bytes changed, numbers set to extremes, pieces cut out or
doubled. It is read from a file and turned into a shape. Any other exception, a header that takes longer than
HANG_S, or address space beyond MEMORY_BYTES ends the run with exit code 1. Printed: how many were refused, read,
and had a shape; the slowest; the growth of the process.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import FrameType

from app.models.architectures import metadata_of, tensors_of
from app.models.catalog import find_spec
from app.models.layout import Layout, lay_out
from app.models.vocabulary import tokenizer_metadata
from tests.models.test_engine_loads import MODELS, tiny
from tests.models.test_hostile_headers import mutated, outcome, peak_bytes

HANG_S = 5
MEMORY_BYTES = 2 << 30
LAYERS = 4
MOST_CHANGES = (1, 1, 2, 4)
"""One change alone gets furthest."""
VOCABULARY = 300
"""Small, so that mutations meet keys and the tensor table."""


def layouts() -> list[Layout]:
    """A header of every architecture."""
    found = []
    for name in MODELS:
        spec = tiny(name)
        spec = replace(spec, layers=LAYERS, pattern=spec.pattern[:LAYERS], vocabulary=VOCABULARY)
        found.append(lay_out(metadata_of(spec) | tokenizer_metadata(VOCABULARY), tensors_of(spec)))
        assert find_spec(name).architecture == spec.architecture
    return found


def hung(signum: int, frame: FrameType | None) -> None:
    """Ends the run: a header took too long."""
    raise TimeoutError(f"a header took longer than {HANG_S} s")


def fuzz(headers: int, seed: int, folder: Path) -> tuple[Counter[str], float]:
    """Outcomes, and the slowest in milliseconds."""
    bases, chance = layouts(), random.Random(seed)
    path = folder / "mutated.gguf"
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number in range(headers):
        base = chance.choice(bases)
        header = mutated(chance, base.header, chance.choice(MOST_CHANGES))
        with path.open("wb") as file:
            file.write(header)
            file.truncate(base.file_bytes)
        signal.alarm(HANG_S)
        began = time.perf_counter()
        try:
            outcomes[outcome(path)] += 1
        except BaseException:
            kept = Path(tempfile.gettempdir()) / f"culprit-{number}.gguf"
            kept.write_bytes(header)
            print(f"header {number} (seed {seed}) kept as {kept}", file=sys.stderr)
            raise
        slowest = max(slowest, 1000 * (time.perf_counter() - began))
    signal.alarm(0)
    return outcomes, slowest


def main() -> int:
    """Fuzz and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--headers", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=20261122)
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, hung)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    began, before = time.perf_counter(), peak_bytes()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        outcomes, slowest = fuzz(arguments.headers, arguments.seed, Path(folder))
    print(f"{arguments.headers} headers of {len(MODELS)} models in {time.perf_counter() - began:.0f} s")
    for name in ("refused", "read", "shaped"):
        print(f"  {name:8} {outcomes[name]:7} ({100 * outcomes[name] / arguments.headers:.1f} %)")
    print(f"slowest {slowest:.1f} ms; memory grew by {(peak_bytes() - before) / 2**20:.1f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
