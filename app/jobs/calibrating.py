"""What was measured of this machine for its calibration, and the constants that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app import calibration_store
from app.hardware.coefficients import shipped_coefficients
from app.jobs.checking import machine_key
from app.runtimes.base import Engine
from app.runtimes.speed_engine import speed_engine
from app.solver.coefficients import Coefficients
from app.tuner import conditions as conditions_form
from app.tuner import measurement as measurement_form
from app.tuner.conditions import Conditions, conditions_of, differences
from app.tuner.evidence import Fitted, fitted
from app.tuner.measurement import Measurement
from detectors.facts import Machine


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The constants to plan with here, and what a plan should say about them."""

    coefficients: Coefficients
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownTrials:
    """The measurements of this machine that hold at present."""

    conditions: Conditions
    """At present."""
    at: str = ""
    """When the newest of them was measured, ISO 8601; empty: there are none."""
    measurements: tuple[Measurement, ...] = ()
    """The newest of each name."""
    note: str = ""
    """Why there are none, where there are some under other conditions."""


def coefficients_for(machine: Machine, engine: Engine) -> Calibrated:
    """The constants for that engine on this machine: its own where they were measured under the same conditions.

    Args:
        machine: this one, with the remote devices that the engine was asked with.
        engine: what is to run the plan.

    Raises:
        MoetuneError: the database cannot be read.
    """
    known = known_trials(machine, engine)
    if not known.measurements:
        return Calibrated(shipped_coefficients(), (known.note,) if known.note else ())
    result = fit(machine, engine, known.measurements)
    words = f"{known.at[:10]} with {known.conditions.text}"
    constants = f"{len(result.identified)} constant" + "s" * (len(result.identified) != 1)
    noisy = sum(one.is_noisy for one in known.measurements)
    note = (
        f"Calibrated {words}: {len(result.held)} measurements of this machine fix {constants}"
        f" ({', '.join(result.identified) or 'none'})."
    )
    if noisy:
        note += f" {noisy} of them are noisy: `moetune calibrate` on a quiet machine says more."
    return Calibrated(replace(result.coefficients, calibrated=words), (note,))


def known_trials(machine: Machine, engine: Engine) -> KnownTrials:
    """The stored measurements that were made under the present conditions."""
    at_present = conditions_of(machine, engine)
    found: dict[str, Measurement] = {}
    newest = note = ""
    for one in calibration_store.calibrations(machine_key(machine)):
        then = conditions_form.from_json(one.conditions_json)
        if then is None:
            continue
        if changed := differences(then, at_present):
            note = note or (
                f"The calibration of {one.at[:10]} is not used: {'; '.join(changed)}."
                " `moetune calibrate` measures again."
            )
            continue
        newest = newest or one.at
        for trial in one.trials:
            measured = measurement_form.from_json(trial.measurement_json)
            if measured is not None:
                found.setdefault(measured.name, measured)
    return KnownTrials(at_present, newest, tuple(found.values()), "" if found else note)


def fit(machine: Machine, engine: Engine, measurements: Sequence[Measurement]) -> Fitted:
    """The constants of this machine by those measurements, from the shipped ones."""
    return fitted(machine, speed_engine(engine), shipped_coefficients(), measurements)


def forget(machine: Machine) -> int:
    """Delete what was measured of this machine for its calibration; how many trials that were."""
    return calibration_store.forget_calibrations(machine_key(machine))
