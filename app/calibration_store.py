"""The calibrations of machines and the trials that they are made of, in the file of `app.store`.

Trials are kept as they were measured, not what was fitted to them: with other constants to start from, or a better
speed model, the same trials are fitted again.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.store import now, opened, store_path


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """One measurement of a calibration."""

    id: int
    at: str
    """ISO 8601, UTC."""
    name: str
    ms_per_token: float
    measurement_json: str
    """Everything that is needed to predict it again."""


@dataclass(frozen=True, slots=True)
class StoredCalibration:
    """What was measured in one go, under the same conditions."""

    id: int
    machine_key: str
    at: str
    conditions_json: str
    """Engine build, drivers and power state."""
    trials: tuple[StoredTrial, ...] = ()
    """In the order they were measured."""


def begin_calibration(machine_key: str, conditions_json: str) -> int:
    """Remember that a calibration began, and return its id for `save_trial`."""
    with opened() as connection:
        cursor = connection.execute(
            "INSERT INTO calibrations (machine_key, at, conditions_json) VALUES (?, ?, ?)",
            (machine_key, now(), conditions_json),
        )
    return int(cursor.lastrowid or 0)


def save_trial(calibration_id: int, name: str, ms_per_token: float, measurement_json: str) -> None:
    """Remember one measurement at once, so that what comes after it cannot lose it."""
    with opened() as connection:
        connection.execute(
            "INSERT INTO trials (calibration_id, at, name, ms_per_token, measurement_json) VALUES (?, ?, ?, ?, ?)",
            (calibration_id, now(), name, ms_per_token, measurement_json),
        )


def calibrations(machine_key: str) -> tuple[StoredCalibration, ...]:
    """The calibrations of a machine that hold any trial, newest first."""
    if not store_path().exists():
        return ()
    with opened() as connection:
        heads = connection.execute(
            "SELECT id, machine_key, at, conditions_json FROM calibrations WHERE machine_key = ? ORDER BY id DESC",
            (machine_key,),
        ).fetchall()
        of_each = {
            head[0]: connection.execute(
                "SELECT id, at, name, ms_per_token, measurement_json FROM trials WHERE calibration_id = ? ORDER BY id",
                (head[0],),
            ).fetchall()
            for head in heads
        }
    return tuple(
        StoredCalibration(number, key, at, conditions, tuple(StoredTrial(*row) for row in of_each[number]))
        for number, key, at, conditions in heads
        if of_each[number]
    )


def forget_calibrations(machine_key: str) -> int:
    """Delete a machine's calibrations, and return how many trials they held."""
    if not store_path().exists():
        return 0
    with opened() as connection:
        of_machine = "calibration_id IN (SELECT id FROM calibrations WHERE machine_key = ?)"
        trials = connection.execute(f"DELETE FROM trials WHERE {of_machine}", (machine_key,)).rowcount
        connection.execute("DELETE FROM calibrations WHERE machine_key = ?", (machine_key,))
    return int(trials)
