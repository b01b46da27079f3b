"""The benchmarks of machines and the points that they are made of, in the file of `app.store`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from app.store import now, opened, store_path

if TYPE_CHECKING:
    import sqlite3

Facts = dict[str, Any]
"""What JSON knows."""


@dataclass(frozen=True, slots=True)
class Point:
    """Speeds at one context with one number of sequences, and what was predicted of them.

    Speeds are tokens of all sequences per second; `None` where there was none, or nobody predicted it.
    """

    context: int
    """That was asked for."""
    batch: int
    """Sequences at once."""
    prompt_tokens: int
    """In the cache of each sequence before it generated: less than `context` where that is all a plan holds."""
    generated: int
    """By each sequence."""
    prefill_tps: float | None
    """Mean over whole prompts, from an empty cache."""
    decode_tps: float | None
    predicted_prefill_tps: float | None = None
    predicted_decode_tps: float | None = None
    decode_low: float | None = None
    """About nine of ten measurements should lie between this and `decode_high`."""
    decode_high: float | None = None
    latency: dict[str, float] = field(default_factory=dict)
    """Of a running endpoint, as its clients saw it, by name: `ttft_ms_p50`, `tpot_ms_p95` ..."""
    at: str = ""
    """ISO 8601, UTC."""


@dataclass(frozen=True, slots=True)
class StoredBench:
    """One sweep and all that must be known to compare it with another."""

    id: int
    at: str
    """When it began, ISO 8601, UTC."""
    machine_key: str
    model: str
    engine: str
    tool: str
    """`llama-batched-bench`, or the URL of the endpoint."""
    facts: Facts
    """The machine's state, the placement and the parameters."""
    points: tuple[Point, ...] = ()
    """In the order they were measured."""


def begin_bench(machine_key: str, model: str, engine: str, tool: str, config_key: str, facts: Facts) -> int:
    """Remember that a sweep began, and return its id for `save_point`."""
    with opened() as connection:
        cursor = connection.execute(
            "INSERT INTO benches (at, machine_key, model, engine, tool, config_key, facts_json)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (now(), machine_key, model, engine, tool, config_key, json.dumps(facts, sort_keys=True)),
        )
    return int(cursor.lastrowid or 0)


def save_point(bench_id: int, point: Point) -> Point:
    """Remember one point at once, so that what comes after it cannot lose it; the point with its time."""
    point = replace(point, at=now())
    with opened() as connection:
        connection.execute(
            "INSERT INTO points (bench_id, at, context, batch, generated, point_json) VALUES (?, ?, ?, ?, ?, ?)",
            (bench_id, point.at, point.context, point.batch, point.generated, json.dumps(asdict(point))),
        )
    return point


def bench_of_config(machine_key: str, config_key: str) -> StoredBench | None:
    """The newest sweep of that configuration of that machine that holds any point."""
    found = _benches("machine_key = ? AND config_key = ?", (machine_key, config_key), 1)
    return found[0] if found else None


def bench(bench_id: int) -> StoredBench | None:
    """One sweep."""
    found = _benches("id = ?", (bench_id,), 1)
    return found[0] if found else None


def benches(limit: int = 100, model: str = "") -> tuple[StoredBench, ...]:
    """The newest sweeps that hold any point, newest first; of models whose name has `model` in it."""
    return _benches("instr(lower(model), lower(?)) > 0 OR ? = ''", (model, model), limit)


def _benches(condition: str, values: tuple[object, ...], limit: int) -> tuple[StoredBench, ...]:
    if not store_path().exists():
        return ()
    with opened() as connection:
        rows = connection.execute(
            "SELECT id, at, machine_key, model, engine, tool, facts_json FROM benches"
            f" WHERE ({condition}) AND EXISTS (SELECT 1 FROM points WHERE bench_id = benches.id)"
            " ORDER BY id DESC LIMIT ?",
            (*values, limit),
        ).fetchall()
        return tuple(
            StoredBench(number, at, key, name, engine, tool, json.loads(facts), _points(connection, number))
            for number, at, key, name, engine, tool, facts in rows
        )


def _points(connection: sqlite3.Connection, bench_id: int) -> tuple[Point, ...]:
    rows = connection.execute("SELECT point_json FROM points WHERE bench_id = ? ORDER BY id", (bench_id,)).fetchall()
    names = {item.name for item in fields(Point)}
    return tuple(
        Point(**{name: value for name, value in json.loads(text).items() if name in names}) for (text,) in rows
    )
