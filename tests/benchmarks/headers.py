"""Headers: the time to read a split model's header, and to reckon the shapes of the whole catalogue.

    python tests/benchmarks/headers.py [--runs N]

The model is gpt-oss 120B as it is published: 59 GiB in three files, 201,088 tokens and 446,189 merge rules, written
sparse. Times are of this process, the median (and range) after one warm-up: the file's pages are in the cache.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from app.models.architectures import metadata_of, tensors_of
from app.models.catalog import find_spec, model_names
from app.models.gguf import read_header
from app.models.layout import lay_out
from app.models.shape import planned_shape, shape_of
from app.models.vocabulary import tokenizer_metadata

PARTS = 3
MERGES = 446_189
"""Of gpt-oss's tokenizer."""
COLD = """
import time
began = time.perf_counter()
from app.models.catalog import find_spec, model_names
from app.models.shape import planned_shape
imported = time.perf_counter()
shapes = [planned_shape(find_spec(name)) for name in model_names()]
print(1000 * (time.perf_counter() - imported), 1000 * (imported - began), len(shapes))
"""


def write_split(folder: Path) -> Path:
    """The model in three sparse files; the first."""
    spec = find_spec("gpt-oss-120b")
    plans = tensors_of(spec)
    words = tokenizer_metadata(spec.vocabulary)
    words["tokenizer.ggml.merges"] = [f"{number:x} {number * 7:x}" for number in range(MERGES)]
    size = -(-len(plans) // PARTS)
    for part in range(PARTS):
        split = {"split.no": part, "split.count": PARTS, "split.tensors.count": len(plans)}
        metadata = split if part else metadata_of(spec) | words | split
        layout = lay_out(metadata, plans[part * size : (part + 1) * size])
        with (folder / f"model-{part + 1:05d}-of-{PARTS:05d}.gguf").open("wb") as file:
            file.write(layout.header)
            file.truncate(layout.file_bytes)
    return folder / f"model-00001-of-{PARTS:05d}.gguf"


def timed(work: Callable[[], object], runs: int) -> list[float]:
    """Milliseconds of each run."""
    found = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        work()
        found.append(1000 * (time.perf_counter() - began))
    return found[1:]


def cold_catalogue(runs: int) -> list[float]:
    """Milliseconds for all shapes of the catalogue in processes that have just started, imports left out."""
    found = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
        found.append(float(done.stdout.split()[0]))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    report: dict[str, dict[str, float]] = {}

    def add(name: str, times: list[float], budget: float) -> None:
        report[name] = {"median_ms": statistics.median(times), "min_ms": min(times), "max_ms": max(times),
                        "budget_ms": budget}  # fmt: skip
        print(f"{name:<40} {statistics.median(times):6.1f} ms ({min(times):.1f} to {max(times):.1f})"
              f"  budget {budget:.0f}")  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        path = write_split(Path(folder))
        header = read_header(path)
        print(f"{header.file_bytes / 2**30:.1f} GiB in {len(header.files)} files, {len(header.tensors)} tensors")
        add("header of a split model", timed(lambda: read_header(path), runs), 100)
        add("header and shape", timed(lambda: shape_of(read_header(path)), runs), 100)
    specs = [find_spec(name) for name in model_names()]
    add(f"shapes of {len(specs)} described models, cold", cold_catalogue(runs), 150)
    add("the same, presets read", timed(lambda: [planned_shape(spec) for spec in specs], runs), 150)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
