"""Do a few layers tell what more of them cost? Slices of 2 and 4 layers predict one of 6, which is then measured.

    python -m tests.benchmarks.slices [--seconds 200] [--threads N] [--json]

Per model: decode and prefill by llama-bench on the CPU. The slices of all models take turns for as long as there is
time, and the fastest repetition counts: others on the machine only ever add time. Exit code 1 where a prediction is
off by more than 10 %.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from statistics import median

from app.models.catalog import find_spec
from app.runtimes.bench import Bench, BenchRequest, Phase
from app.runtimes.llama_bench import bench_of
from app.runtimes.registry import find_engines
from app.solver.plan import Parameters, Placement
from app.tuner.extrapolation import line_through
from app.tuner.slice_folder import Slice, SliceFolder

TARGET = 0.10
KNOWN, ASKED = (2, 4), 6
MODELS = (("gpt-oss-20b", 8), ("qwen3-30b-a3b:Q4_K_M", 16), ("olmoe-1b-7b:Q8_0", 16))
"""Model, and how many of its experts are kept so that six layers are below 1 GB."""
VOCABULARY = 8192
PROMPT, GENERATED, REPETITIONS = 64, 12, 3
LEAST_ROUNDS = 2


@dataclass(frozen=True)
class Row:
    """One prediction and what came of it."""

    model: str
    phase: Phase
    ms: dict[int, float]
    """Milliseconds per token by layers, the fastest repetition."""
    spread: dict[int, float]
    """Median over fastest: what others on the machine did."""
    fixed_ms: float
    per_layer_ms: float
    predicted_ms: float
    measured_ms: float
    whole_tps: float
    """Tokens per second of the whole model by the same line."""

    @property
    def off(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted_ms / self.measured_ms - 1.0


def main() -> int:
    """Measure, print, and say whether the target is met."""
    arguments = _arguments()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="moetune-slices-") as home:
        engine = find_engines()[0]
        os.environ["MOETUNE_HOME"] = home
        with SliceFolder() as folder:
            rows = _rows(folder, bench_of(engine), arguments.threads, began + arguments.seconds)
    if arguments.json:
        print(json.dumps([asdict(row) | {"off": row.off} for row in rows], indent=2))
    else:
        _print(rows)
    print(f"{engine.version}, {arguments.threads} threads, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0 if all(abs(row.off) <= TARGET for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=200, help="begin no round after that (default 200)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _rows(folder: SliceFolder, bench: Bench, threads: int, until: float) -> list[Row]:
    parameters = Parameters(
        context=512, parallel=1, ubatch=512, batch=512, kv_type_k="f16", kv_type_v="f16", flash_attention=True,
        load_mode="mmap", threads=threads, threads_batch=threads,
    )  # fmt: skip
    samples: dict[tuple[str, Phase, int], list[float]] = {}
    rounds = 0
    while rounds < LEAST_ROUNDS or time.monotonic() < until:
        for model, experts in MODELS:
            for layers in (*KNOWN, ASKED):
                path = folder.file(Slice(model, layers, experts, VOCABULARY))
                placement = Placement.on("cpu", ("cpu",) * layers)
                request = BenchRequest(path, placement, parameters, (PROMPT,), (GENERATED,), (0,), REPETITIONS)
                for row in bench.run(request, limit_s=120):
                    samples.setdefault((model, row.phase, layers), []).extend(row.samples_ms)
        rounds += 1
    print(f"{rounds} rounds of {REPETITIONS} repetitions", file=sys.stderr)
    phases: tuple[Phase, ...] = ("decode", "prefill")
    return [
        _row(model, phase, {n: samples[model, phase, n] for n in (*KNOWN, ASKED)})
        for model, _ in MODELS
        for phase in phases
    ]


def _row(model: str, phase: Phase, samples: dict[int, list[float]]) -> Row:
    ms = {layers: min(found) for layers, found in samples.items()}
    line = line_through({layers: ms[layers] for layers in KNOWN}, prompt=phase == "prefill")
    spread = {layers: median(found) / min(found) for layers, found in samples.items()}
    whole = 1000.0 / line.ms(find_spec(model).layers)
    return Row(model, phase, ms, spread, line.fixed_ms, line.per_layer_ms, line.ms(ASKED), ms[ASKED], whole)


def _print(rows: list[Row]) -> None:
    layers = (*KNOWN, ASKED)
    columns = "".join(f"{f'{n} layers':>10}" for n in layers)
    print(f"{'model':22} {'phase':8}{columns}   fixed + per layer   predicted {ASKED}     off   spread   whole model")
    for row in rows:
        times = "".join(f"{row.ms[n]:7.2f} ms" for n in layers)
        print(
            f"{row.model:22} {row.phase:8}{times}  {row.fixed_ms:7.2f} + {row.per_layer_ms:5.2f} ms"
            f"  {row.predicted_ms:9.2f} ms  {100 * row.off:+5.1f} %  {max(row.spread.values()):5.2f}"
            f"  {row.whole_tps:8.1f} t/s"
        )
    worst = max(rows, key=lambda row: abs(row.off))
    print(
        f"worst: {worst.model} {worst.phase} {100 * worst.off:+.1f} % (target within {100 * TARGET:.0f} %);"
        " spread: median over fastest repetition"
    )


if __name__ == "__main__":
    sys.exit(main())
