"""The calibration job: short measurements of this machine with its real engines, kept as each of them is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from app import calibration_store, store
from app.errors import BusyError, UsageError
from app.hardware.coefficients import shipped_coefficients
from app.jobs.calibrating import fit, known_trials
from app.jobs.checking import READ_BANDWIDTH, MeasuredBandwidth, known_machine, machine_key, measure
from app.jobs.hosts import hosts_in_use, measure_ways, with_network
from app.jobs.planning import PlanRequest, choose_engine, find_model
from app.models.catalog import find_spec, is_described
from app.models.finding import is_loadable
from app.runtimes.base import Engine
from app.runtimes.llama_bench import bench_of, can_be_timed
from app.runtimes.llama_command import endpoint_of
from app.runtimes.registry import find_engines, machine_with_remotes
from app.runtimes.speed_engine import speed_engine
from app.solver.coefficients import Coefficient
from app.solver.model import ModelShape
from app.solver.ram import with_ram_bandwidth
from app.tuner import conditions as conditions_form
from app.tuner import measurement as measurement_form
from app.tuner.conditions import Conditions, conditions_of
from app.tuner.evidence import Held
from app.tuner.kt_trials import time_kernels
from app.tuner.measurement import NOISY, Measurement
from app.tuner.programme import FOUR_BIT, FULL, OTHER, QUICK, Programme
from app.tuner.session import Event, Skipped
from app.tuner.session import measure as measure_steps
from app.tuner.slice_folder import SliceFolder
from detectors.facts import Machine

REPORT_VERSION = 1
BUSY_SHARE = 0.15
"""Of the cores kept busy by others, from which a measurement says more about them than about the machine."""
BUSY_WATCH_S = 0.6


@dataclass(frozen=True, slots=True)
class MeasuringRequest:
    """What a person asks to be measured."""

    model: str | None = None
    """A GGUF file to measure as it is, or a name of the catalogue whose shapes are to be measured."""
    full: bool = False
    devices: tuple[str, ...] = ()
    """Only these, by the engine's name or the device's id."""
    rpc: tuple[str, ...] = ()
    engine: str | None = None
    force: bool = False
    """Measure though others use the processor."""
    limit_s: float | None = None
    """`None`: what the effort has."""


@dataclass(frozen=True, slots=True)
class CalibrationReport:
    """What `moetune calibrate` answers with: all that is known of this machine under the present conditions."""

    version: int
    at: str
    """Of the newest measurement, ISO 8601; empty: there is none."""
    conditions: Conditions
    measurements: tuple[Measurement, ...]
    held: tuple[Held, ...]
    """Each beside what the calibrated constants say."""
    multiplier: float
    identified: dict[str, Coefficient]
    refused: dict[str, str]
    shipped: dict[str, float]
    """What the identified constants are on other machines."""
    skipped: tuple[Skipped, ...] = ()
    """What was not measured this time, and why."""
    ram: MeasuredBandwidth | None = None
    round_trips_us: dict[str, float | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def calibrate(
    request: MeasuringRequest,
    *,
    on_event: Callable[[Event], None] = lambda event: None,
    on_writing: Callable[[int, int], None] | None = None,
) -> CalibrationReport:
    """Measure, keep every measurement as it is done, and fit.

    Raises:
        BusyError: others use the processor.
        NoEngineError: there is no engine, or none that can be timed.
        UsageError, ModelError: a device or a model that is not there.
    """
    machine = known_machine()
    engine = find_engine(request, machine)
    bench, devices, subject = bench_of(engine), _devices(request, engine), _subject(request)
    busy = busy_cores(machine)
    if busy and not request.force:
        raise BusyError(
            f"{busy}: what is measured now would be theirs, too.", hint="Wait or stop them; --force measures anyway."
        )
    # A stored bandwidth is not replaced by what others left of it.
    known = store.latest_measurement(machine_key(machine), READ_BANDWIDTH)
    ram = None if busy and known is not None else measure(machine)
    endpoints = [endpoint for device in engine.devices if (endpoint := endpoint_of(device)) is not None]
    round_trips = measure_ways(machine, endpoints)
    # with what was just measured
    machine = with_ram_bandwidth(with_network(machine_with_remotes(known_machine(), engine)))
    programme = _programme(request, machine, engine, devices, subject)
    limit_s = request.limit_s or programme.effort.limit_s
    calibration = calibration_store.begin_calibration(
        machine_key(machine), conditions_form.to_json(conditions_of(machine, engine))
    )
    skipped: list[Skipped] = []
    with SliceFolder() as folder:
        events = measure_steps(programme.steps(), bench, engine, folder, limit_s=limit_s, on_writing=on_writing)
        for event in chain(events, _kernels(request, programme)):
            if isinstance(event, Measurement):
                text = measurement_form.to_json(event)
                calibration_store.save_trial(calibration, event.name, event.ms_per_token, text)
            elif isinstance(event, Skipped):
                skipped.append(event)
            on_event(event)
    notes = (f"{busy}, and --force measured nevertheless: times are theirs, too.",) if busy else ()
    return report(machine, engine, skipped=tuple(skipped), ram=ram, round_trips_us=round_trips, notes=notes)


def report(
    machine: Machine,
    engine: Engine,
    *,
    skipped: tuple[Skipped, ...] = (),
    ram: MeasuredBandwidth | None = None,
    round_trips_us: dict[str, float | None] | None = None,
    notes: tuple[str, ...] = (),
) -> CalibrationReport:
    """What all measurements of this machine under the present conditions tell."""
    known = known_trials(machine, engine)
    result = fit(machine, engine, known.measurements)
    shipped = shipped_coefficients()
    noisy = sum(one.is_noisy for one in known.measurements)
    said = [*notes, known.note] if known.note else list(notes)
    if noisy:
        said.append(
            f"{noisy} of {len(known.measurements)} measurements are noisy: their median repetition took more than"
            f" {NOISY:g} times the fastest. Measure again on a quiet machine."
        )
    if result.left_out:
        said.append(f"{len(result.left_out)} measurements are not used: their devices are not there now (see --rpc).")
    return CalibrationReport(
        version=REPORT_VERSION,
        at=known.at,
        conditions=known.conditions,
        measurements=known.measurements,
        held=result.held,
        multiplier=result.multiplier,
        identified=dict(result.identified),
        refused=dict(result.refused),
        shipped={name: shipped[name] for name in result.identified},
        skipped=skipped,
        ram=ram,
        round_trips_us=round_trips_us or {},
        notes=tuple(said),
    )


def busy_cores(machine: Machine) -> str:
    """Who else uses the processor, as a sentence without its end; empty where it is quiet. Watches for a moment."""
    from app.telemetry.contention import Contention

    cores = machine.cpu.logical_cpus if machine.cpu else 1
    watch = Contention(None)
    time.sleep(BUSY_WATCH_S)
    others = watch.other_cores() or 0.0
    return f"Other programs keep {others:.1f} of {cores} processors busy" if others > BUSY_SHARE * cores else ""


def find_engine(request: MeasuringRequest, machine: Machine) -> Engine:
    """The engine that is to be measured: the one that plans would use, or the next that has tools to be timed with.

    Raises:
        NoEngineError: there is none.
    """
    rpc = hosts_in_use(request.rpc).endpoints
    asked = PlanRequest(model="", rpc=rpc, engine=request.engine)
    engines = find_engines(rpc, machine)
    first = choose_engine(engines, asked, machine)
    if request.engine is not None or can_be_timed(first):
        return first
    return next((one for one in engines if can_be_timed(one) and not (rpc and "--rpc" not in one.flags)), first)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What to measure first: slices of a described model, or a file as it is."""

    model: str = FOUR_BIT
    file: Path | None = None
    shape: ModelShape | None = None


def _subject(request: MeasuringRequest) -> _Subject:
    if request.model is None:
        return _Subject()
    if is_loadable(request.model):
        return _Subject(file=Path(request.model), shape=find_model(request.model))
    if is_described(request.model) and not Path(request.model).exists():
        find_spec(request.model)  # a quantization that is none is refused before anything is measured
        return _Subject(request.model)
    find_model(request.model)
    raise UsageError(
        f"{request.model} can be planned for, and not be measured.",
        hint="Give a GGUF file, or a name that `moetune slice` lists.",
    )


def _programme(
    request: MeasuringRequest, machine: Machine, engine: Engine, devices: tuple[str, ...], subject: _Subject
) -> Programme:
    return Programme(
        machine=machine,
        engine=speed_engine(engine),
        coefficients=shipped_coefficients(),
        devices=devices,
        effort=FULL if request.full else QUICK,
        threads=threads_of(machine),
        model=subject.model,
        file=subject.file,
        file_shape=subject.shape,
    )


def threads_of(machine: Machine) -> int:
    """The threads to measure with: those that a plan has."""
    cpu = machine.cpu
    return (cpu.decode_threads or cpu.physical_cores or cpu.logical_cpus) if cpu else 1


def _devices(request: MeasuringRequest, engine: Engine) -> tuple[str, ...]:
    ids = {device.name.lower(): device.device_id for device in engine.devices if device.device_id}
    ids |= {device_id: device_id for device_id in ids.values()}
    chosen = []
    for name in request.devices or tuple(ids):
        found = ids.get(name.lower()) or ids.get(name)
        if found is None:
            known = ", ".join(device.name for device in engine.devices if device.device_id)
            raise UsageError(
                f"The engine {engine.path.name} has no device {name!r}.", hint=f"Its devices are: {known}."
            )
        chosen.append(found)
    return tuple(dict.fromkeys(chosen))


def _kernels(request: MeasuringRequest, programme: Programme) -> Iterator[Event]:
    """KTransformers' kernels, for the model's experts or those of the programme's second model."""
    if "cpu" not in programme.devices:
        return
    spec = find_spec(request.model if request.model is not None and programme.file is None else OTHER)
    yield from time_kernels(spec, programme.threads)
