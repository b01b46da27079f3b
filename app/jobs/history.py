"""The history job: what was measured before, held against each other and exported."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

from app import bench_store, store
from app.bench_store import Facts, Point, StoredBench
from app.errors import UsageError
from app.store import Run

_UNTOLD = frozenset({"placement", "model_path", "plan_context"})
"""Facts that another says in better words, or that do not change a speed."""


@dataclass(frozen=True, slots=True)
class History:
    """Everything that was measured, newest first."""

    benches: tuple[StoredBench, ...]
    runs: tuple[Run, ...]
    """Prompts through `moetune run`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One point that both sweeps have. Ratios are the second's speed over the first's."""

    context: int
    batch: int
    prefill: tuple[float | None, float | None]
    decode: tuple[float | None, float | None]
    prefill_ratio: float | None
    decode_ratio: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sweeps beside each other."""

    first: StoredBench
    second: StoredBench
    differences: tuple[str, ...]
    """What else differs between them, `name: this and that`."""
    pairs: tuple[Pair, ...]


def history(model: str = "", limit: int = 100) -> History:
    """What there is, of models with `model` in their name."""
    runs = (run for run in store.runs(limit) if model.lower() in run.model.lower())
    return History(tuple(map(settled, bench_store.benches(limit, model))), tuple(runs))


def bench_of(number: int) -> StoredBench:
    """One sweep.

    Raises:
        UsageError: there is none of that number.
    """
    found = bench_store.bench(number)
    if found is None:
        raise UsageError(f"There is no benchmark {number}.", hint="`moetune history` lists them.")
    return settled(found)


def newest_bench(model: str = "") -> StoredBench:
    """The newest sweep of such a model.

    Raises:
        UsageError: there is none.
    """
    found = bench_store.benches(1, model)
    if not found:
        raise UsageError("Nothing was benchmarked yet.", hint="`moetune bench MODEL` measures one.")
    return settled(found[0])


def settled(stored: StoredBench) -> StoredBench:
    """With the newest point of each kind only, those of one sequence first, then by context."""
    newest = {(point.batch > 1, point.context, point.batch): point for point in stored.points}
    return replace(stored, points=tuple(newest[key] for key in sorted(newest)))


def compare(first: StoredBench, second: StoredBench) -> Comparison:
    """The points that both have, and what else differs.

    Raises:
        UsageError: they have no point in common.
    """
    others = {(point.context, point.batch): point for point in second.points}
    pairs = tuple(
        _pair(point, others[point.context, point.batch])
        for point in first.points
        if (point.context, point.batch) in others
    )
    if not pairs:
        raise UsageError(
            f"The benchmarks {first.id} and {second.id} have no point in common.",
            hint="Measure both with the same --contexts and --batches.",
        )
    return Comparison(first, second, tuple(_differences(first, second)), pairs)


def _pair(one: Point, other: Point) -> Pair:
    return Pair(
        one.context, one.batch, (one.prefill_tps, other.prefill_tps), (one.decode_tps, other.decode_tps),
        _ratio(one.prefill_tps, other.prefill_tps), _ratio(one.decode_tps, other.decode_tps),
    )  # fmt: skip


def _ratio(one: float | None, other: float | None) -> float | None:
    return other / one if one and other else None


def _differences(first: StoredBench, second: StoredBench) -> Iterator[str]:
    heads = [
        {"machine": one.machine_key, "model": one.model, "tool": one.tool} | dict(_leaves(one.facts))
        for one in (first, second)
    ]
    for name in dict.fromkeys((*heads[0], *heads[1])):
        before, after = heads[0].get(name), heads[1].get(name)
        if before != after:
            yield f"{name.replace('_', ' ')}: {_said(before)} and {_said(after)}"


def _leaves(facts: Facts) -> Iterator[tuple[str, object]]:
    for name, value in facts.items():
        if name in _UNTOLD:
            continue
        if isinstance(value, dict):
            yield from _leaves(value)
        else:
            yield name.removesuffix("_text"), value


def _said(value: object) -> str:
    return "not known" if value is None or value == "" else str(value)


def csv_text(benches: Sequence[StoredBench]) -> str:
    """Every point in a line, with the sweep that it belongs to."""
    plain_fields = [item.name for item in fields(Point) if item.name != "latency"]
    latencies = sorted({name for stored in benches for point in stored.points for name in point.latency})
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["bench", "model", "machine", "engine", "tool", "placement", *plain_fields, *latencies])
    for stored in benches:
        head = [stored.id, stored.model, stored.machine_key, stored.engine, stored.tool]
        head.append(stored.facts.get("placement_text", ""))
        for point in stored.points:
            values = [getattr(point, name) for name in plain_fields]
            writer.writerow([*head, *values, *(point.latency.get(name) for name in latencies)])
    return buffer.getvalue()
