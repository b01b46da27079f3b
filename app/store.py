"""What moetune remembers between runs, in one SQLite file.

Measurements and runs are here, calibrations in `app.calibration_store`, benchmarks in `app.bench_store`, hosts on the
network in `app.host_store`.
Each function opens the file, does one thing and closes it: it may be called from any thread, and nothing is opened
before something is to be remembered. Reading from a file that is not there finds nothing, and makes none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import MoetuneError
from app.paths import data_dir, made

if TYPE_CHECKING:
    import sqlite3

SCHEMA_VERSION = 4
_BUSY_TIMEOUT_S = 5.0
_VERSION_1 = """
CREATE TABLE measurements (
    id INTEGER PRIMARY KEY,
    machine_key TEXT NOT NULL,
    name TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    at TEXT NOT NULL,
    detail TEXT NOT NULL DEFAULT ''
);
CREATE INDEX measurements_by_name ON measurements (machine_key, name, id);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    model TEXT NOT NULL,
    plan_json TEXT NOT NULL,
    predicted_tps REAL,
    measured_decode_tps REAL,
    measured_prefill_tps REAL,
    engine TEXT NOT NULL
);
"""
_VERSION_2 = """
CREATE TABLE calibrations (
    id INTEGER PRIMARY KEY,
    machine_key TEXT NOT NULL,
    at TEXT NOT NULL,
    conditions_json TEXT NOT NULL
);
CREATE INDEX calibrations_by_machine ON calibrations (machine_key, id);
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    calibration_id INTEGER NOT NULL REFERENCES calibrations (id),
    at TEXT NOT NULL,
    name TEXT NOT NULL,
    ms_per_token REAL NOT NULL,
    measurement_json TEXT NOT NULL
);
CREATE INDEX trials_by_calibration ON trials (calibration_id, id);
"""
_VERSION_3 = """
CREATE TABLE benches (
    id INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    machine_key TEXT NOT NULL,
    model TEXT NOT NULL,
    engine TEXT NOT NULL,
    tool TEXT NOT NULL,
    config_key TEXT NOT NULL,
    facts_json TEXT NOT NULL
);
CREATE INDEX benches_by_config ON benches (machine_key, config_key, id);
CREATE TABLE points (
    id INTEGER PRIMARY KEY,
    bench_id INTEGER NOT NULL REFERENCES benches (id),
    at TEXT NOT NULL,
    context INTEGER NOT NULL,
    batch INTEGER NOT NULL,
    generated INTEGER NOT NULL,
    point_json TEXT NOT NULL
);
CREATE INDEX points_by_bench ON points (bench_id, id);
"""
_VERSION_4 = """
CREATE TABLE hosts (
    name TEXT PRIMARY KEY COLLATE NOCASE,
    endpoint TEXT NOT NULL UNIQUE,
    always INTEGER NOT NULL,
    at TEXT NOT NULL
);
"""
_MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
"""What leads from each version to the next; the first from nothing."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One measured number of one machine."""

    machine_key: str
    """Which machine, and in which state, by whatever its caller tells machines apart."""
    name: str
    """Such as `ram_bandwidth`."""
    value: float
    unit: str
    at: str
    """ISO 8601, UTC."""
    detail: str
    """How it was measured."""


@dataclass(frozen=True, slots=True)
class Run:
    """One launch of an engine and what came of it."""

    id: int
    at: str
    """ISO 8601, UTC."""
    model: str
    plan_json: str
    predicted_tps: float | None
    measured_decode_tps: float | None
    """`None` until it was measured."""
    measured_prefill_tps: float | None
    engine: str
    """Its version as it says itself."""


def store_path() -> Path:
    """Where the file is."""
    return data_dir() / "moetune.sqlite"


def save_measurement(machine_key: str, name: str, value: float, unit: str, detail: str = "") -> Measurement:
    """Remember a measurement; earlier ones of that name are kept."""
    measurement = Measurement(machine_key, name, value, unit, now(), detail)
    with opened() as connection:
        connection.execute(
            "INSERT INTO measurements (machine_key, name, value, unit, at, detail) VALUES (?, ?, ?, ?, ?, ?)",
            (machine_key, name, value, unit, measurement.at, detail),
        )
    return measurement


def latest_measurement(machine_key: str, name: str) -> Measurement | None:
    """The newest measurement of that name of that machine."""
    if not store_path().exists():
        return None
    with opened() as connection:
        row = connection.execute(
            "SELECT machine_key, name, value, unit, at, detail FROM measurements"
            " WHERE machine_key = ? AND name = ? ORDER BY id DESC LIMIT 1",
            (machine_key, name),
        ).fetchone()
    return None if row is None else Measurement(*row)


def measurements(machine_key: str) -> tuple[Measurement, ...]:
    """All measurements of a machine, newest first."""
    if not store_path().exists():
        return ()
    with opened() as connection:
        rows = connection.execute(
            "SELECT machine_key, name, value, unit, at, detail FROM measurements"
            " WHERE machine_key = ? ORDER BY id DESC",
            (machine_key,),
        ).fetchall()
    return tuple(Measurement(*row) for row in rows)


def save_run(model: str, plan_json: str, predicted_tps: float | None, engine: str) -> int:
    """Remember a launch, and return its id for `finish_run`."""
    with opened() as connection:
        cursor = connection.execute(
            "INSERT INTO runs (at, model, plan_json, predicted_tps, engine) VALUES (?, ?, ?, ?, ?)",
            (now(), model, plan_json, predicted_tps, engine),
        )
    return int(cursor.lastrowid or 0)


def finish_run(run_id: int, *, decode_tps: float | None, prefill_tps: float | None) -> None:
    """Add to a launch what was measured of it."""
    with opened() as connection:
        connection.execute(
            "UPDATE runs SET measured_decode_tps = ?, measured_prefill_tps = ? WHERE id = ?",
            (decode_tps, prefill_tps, run_id),
        )


def runs(limit: int = 100) -> tuple[Run, ...]:
    """The newest launches, newest first."""
    if not store_path().exists():
        return ()
    with opened() as connection:
        rows = connection.execute(
            "SELECT id, at, model, plan_json, predicted_tps, measured_decode_tps, measured_prefill_tps, engine"
            " FROM runs ORDER BY id DESC LIMIT ?",
            (limit,),
        ).fetchall()
    return tuple(Run(*row) for row in rows)


@contextmanager
def opened() -> Iterator[sqlite3.Connection]:
    """A connection with the current schema, in a transaction that is committed at the end.

    Raises:
        MoetuneError: the file is damaged, of a newer version, locked, or cannot be written.
    """
    import sqlite3

    path = store_path()
    try:
        made(path.parent)
        connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        try:
            _prepare(connection, path)
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
        finally:
            connection.close()  # rolls back what was not committed
    except sqlite3.IntegrityError:  # a value that is none: the caller's mistake, not the file's
        raise
    except sqlite3.OperationalError as error:
        raise MoetuneError(
            f"{path} cannot be used: {error}.",
            hint="Another moetune may be writing to it, the disk may be full, or the folder may not be yours.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise MoetuneError(
            f"{path} is damaged: {error}.",
            hint=f"Move it away, then what is missing is measured again: mv '{path}' '{path}.damaged'",
        ) from error
    except OSError as error:
        raise MoetuneError(
            f"{path} cannot be written: {error.strerror}.",
            hint="Make its folder writable, or set MOETUNE_HOME to one of yours.",
        ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    version = _version(connection)
    if version == SCHEMA_VERSION:
        return
    if version > SCHEMA_VERSION:
        raise MoetuneError(
            f"{path} was written by a newer moetune (its schema is {version}, this one knows {SCHEMA_VERSION}).",
            hint=f"Update moetune, or move the file away: mv '{path}' '{path}.newer'",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("BEGIN IMMEDIATE")
    for step in _MIGRATIONS[_version(connection) :]:  # none, where somebody else was faster
        for statement in step.split(";"):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def now() -> str:
    """The time as the database has it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
