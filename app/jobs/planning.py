"""The plan job: from a model file to a plan, checked by the engine, and the command that runs it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from app.errors import NoEngineError, UsageError
from app.hardware.coefficients import shipped_coefficients
from app.jobs.calibrating import Calibrated, coefficients_for
from app.jobs.checking import known_machine
from app.jobs.hosts import HostsInUse, hosts_in_use, with_network
from app.jobs.runtime_choice import runtimes_for, solve_for
from app.runtimes.assumed import assumed_engine
from app.runtimes.base import Command, Engine
from app.runtimes.ktransformers.command import ktransformers_command, ktransformers_engine
from app.runtimes.ktransformers.conversion import conversion_notes
from app.runtimes.registry import bounded_by_engine, engine_at, find_engines, machine_with_remotes, runtimes
from app.runtimes.speed_engine import speed_engine
from app.solver.budget import with_prompt_cache, without_prompt_cache
from app.solver.coefficients import Coefficients
from app.solver.ktransformers import RUNTIME
from app.solver.model import KvType, ModelShape, Policy, Workload
from app.solver.plan import DeviceMemory, Plan
from app.solver.scene import Engine as SpeedEngine
from app.solver.scene import Scene
from app.solver.search import solve
from app.units import bytes_text
from detectors.facts import Machine

ORACLE_ROUNDS = 3
"""How often a plan is made again with tighter limits when the engine says that it needs more than the formula said."""

LOGITS_SLACK = 1.15
"""A compute buffer up to this many times the logits is made of them: a few rows of activations come on top."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a person asks of the planner; everything left open is chosen."""

    model: str
    workload: Workload = field(default_factory=Workload)
    rpc: tuple[str, ...] = ()
    """`host:port` or known name of every RPC server whose device may be used; `none`: not even those always used."""
    devices: tuple[str, ...] = ()
    """Only these, by the engine's name (`CUDA0`, `RPC1`, `CPU`) or the device's id."""
    limits: tuple[tuple[str, int], ...] = ()
    """Most bytes to use of a device, by the same names."""
    reserve_bytes: int | None = None
    kv_type: KvType | None = None
    ubatch: int | None = None
    threads: int | None = None
    engine: str | None = None
    """Path of the server to use, or `embedded`; `None`: the best one found."""
    port: int = 8080
    """Where the engine is to answer on 127.0.0.1; 0: any free port."""
    capture: str | None = None
    """A captured machine to plan for in place of this one."""
    load_mode: str | None = None
    runtimes: tuple[str, ...] | None = None
    """`llama.cpp`, `ktransformers`; `None`: llama.cpp, and KTransformers where it is installed or elsewhere."""
    kt_method: str | None = None
    """Only this way of KTransformers' to compute experts (`AMXINT8` ...); `None`: the fastest."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A plan together with everything that is needed to launch it."""

    request: PlanRequest
    machine: Machine
    """The host's devices and the remote ones."""
    shape: ModelShape
    engine: Engine
    plan: Plan
    command: Command
    engine_checked: bool
    """Whether the engine itself was asked for the memory of this plan."""
    launchable: bool = True
    """Whether this can be run here: the model's file is there, and the machine is this one."""
    policy: Policy = field(default_factory=Policy)
    """What the person decided, in the solver's words: with it the solver can be asked again."""
    coefficients: Coefficients = field(default_factory=shipped_coefficients)
    """The constants that the plan was reckoned with."""
    speed_engine: SpeedEngine = field(default_factory=SpeedEngine)
    """The engine as the speed model saw it."""


def make_plan(
    request: PlanRequest, machine: Machine | None = None, engines: tuple[Engine, ...] | None = None
) -> PlannedRun:
    """Read the model, find the engine, solve, and let the engine check the memory.

    Raises:
        ModelError, NoEngineError, NoFitError, UsageError: each with what is wrong and what to do.
    """
    hosts = hosts_in_use(request.rpc) if request.capture is None else HostsInUse(request.rpc)
    request = with_preset_model(replace(request, rpc=hosts.endpoints))
    shape = find_model(request.model)
    machine = machine or known_machine(request.capture)
    if request.capture is not None:
        engine = assumed_engine(machine)
    else:
        if engines is None or request.rpc:
            engines = find_engines(request.rpc, machine)
        engine = choose_engine(engines, request, machine)
    machine = bounded_by_engine(with_network(machine_with_remotes(machine, engine)), engine)
    policy = _policy(request, machine, engine)
    known = coefficients_for(machine, engine) if request.capture is None else Calibrated(shipped_coefficients())
    scene = Scene(machine, shape, known.coefficients, speed_engine(engine))
    plan = solve_for(scene, request.workload, policy, model_path=str(request.model))
    if plan.runtime == RUNTIME:
        return _for_ktransformers(request, scene, plan, policy, known.notes)
    from app.models.finding import is_loadable  # what reads presets is not needed to start

    launchable = request.capture is None and is_loadable(request.model)
    checked = False
    if launchable:
        plan, checked = _checked(plan, scene, request, policy, engine)
    unseen = _unseen_gpus(machine, engine)
    plan = replace(plan, notes=(*plan.notes, *hosts.notes, *known.notes, *([unseen] if unseen else [])))
    command = runtimes()[engine.runtime].command(plan, engine, port=request.port or _free_port())
    return PlannedRun(
        request, machine, shape, engine, plan, command, checked, launchable, policy, scene.coefficients, scene.engine
    )


def _for_ktransformers(
    request: PlanRequest, scene: Scene, plan: Plan, policy: Policy, notes: tuple[str, ...]
) -> PlannedRun:
    """A plan that is printed, not launched: its weights are not a file that could be given."""
    engine = ktransformers_engine()
    plan = replace(plan, notes=(*plan.notes, *conversion_notes(plan), *notes))
    command = ktransformers_command(
        plan, engine, port=request.port or _free_port(), machine=scene.machine, shape=scene.shape
    )
    return PlannedRun(
        request, scene.machine, scene.shape, engine, plan, command, False, False, policy, scene.coefficients
    )


def with_preset_model(request: PlanRequest) -> PlanRequest:
    """The request with the model that a scenario preset is for, where one is named: its file, if that is here."""
    from app.jobs.scenarios import find_scenario

    scenario = find_scenario(request.model)
    if scenario is None:
        return request
    from app.jobs.model_weights import model_of

    return replace(request, model=scenario.model_words if request.capture else model_of(scenario))


def find_model(model: str) -> ModelShape:
    """The shape of a model file, of a Hugging Face model on disk, or of one of the catalogue that is not downloaded.

    The name of a scenario preset means the preset's model.

    Raises:
        ModelError: there is no such file and no such name, or the file cannot be used.
        UsageError: nothing is known of the quantization that is named.
    """
    from app.jobs.scenarios import find_scenario
    from app.models.finding import model_shape

    scenario = find_scenario(model)
    return model_shape(scenario.model_words if scenario else model)


def choose_engine(engines: tuple[Engine, ...], request: PlanRequest, machine: Machine | None = None) -> Engine:
    """The engine that was asked for, or the first that can do what is asked.

    Raises:
        NoEngineError: there is none.
    """
    if request.engine == "embedded":
        engines = tuple(engine for engine in engines if engine.runtime == "embedded")
    elif request.engine:
        return engine_at(Path(request.engine), request.rpc, machine)
    if request.rpc:
        engines = tuple(engine for engine in engines if "--rpc" in engine.flags)
        if not engines:
            raise NoEngineError(
                "No engine was found that can use RPC servers.",
                hint="`moetune runtime build` builds one with RPC; it takes some minutes, once.",
            )
    if not engines:
        raise NoEngineError(
            "No engine was found: neither llama-server nor llama-cpp-python.",
            hint="`moetune runtime build` builds llama.cpp here; or `pip install 'moetune[embedded]'`.",
        )
    return engines[0]


def _policy(request: PlanRequest, machine: Machine, engine: Engine) -> Policy:
    ids = {device.name.lower(): device.device_id for device in engine.devices if device.device_id}
    ids |= {device_id: device_id for device_id in ids.values()}

    def device_id(name: str) -> str:
        found = ids.get(name.lower()) or ids.get(name)
        if found is None:
            known = ", ".join(device.name for device in engine.devices if device.device_id)
            raise UsageError(
                f"The engine {engine.path.name} has no device {name!r}.", hint=f"Its devices are: {known}."
            )
        return found

    chosen = [device_id(name) for name in request.devices] or list(dict.fromkeys(ids.values()))
    return Policy(
        devices=tuple(chosen),
        limits=tuple((device_id(name), limit) for name, limit in request.limits),
        reserve_bytes=request.reserve_bytes,
        kv_type=request.kv_type,
        ubatch=request.ubatch,
        threads=request.threads,
        load_mode=request.load_mode,
        kt_method=request.kt_method,
        runtimes=runtimes_for(request.runtimes, elsewhere=request.capture is not None),
        repacks=not engine.flags or {"--no-host", "--no-op-offload"} <= engine.flags,
    )


def _checked(plan: Plan, scene: Scene, request: PlanRequest, policy: Policy, engine: Engine) -> tuple[Plan, bool]:
    """Put the engine's own figures in; where they overfill a device, plan again with that much less of it."""
    runtime = runtimes()[engine.runtime]
    for _ in range(ORACLE_ROUNDS):
        answer = runtime.memory_oracle(plan, engine)
        if answer is None:
            return plan, False
        plan = _measured(plan, scene, answer)
        over = {
            memory.device_id: memory.total_bytes + memory.reserve_bytes - memory.available_bytes
            for memory in plan.memory
            if memory.available_bytes is not None and memory.total_bytes + memory.reserve_bytes > memory.available_bytes
        }
        if not over:
            return plan, True
        tighter = dict(policy.limits)
        for memory in plan.memory:
            if memory.device_id in over and memory.available_bytes is not None:
                tighter[memory.device_id] = memory.available_bytes - over[memory.device_id]
        policy = replace(policy, limits=tuple(tighter.items()))
        plan = solve(scene, request.workload, policy, model_path=plan.model_path)
    return plan, False


def _measured(plan: Plan, scene: Scene, answer: dict[str, tuple[int, int, int]]) -> Plan:
    """The plan with the engine's figures in place of the formula's, and with what they leave for prompts to keep.

    The tool reserves logits for a whole ubatch where a server needs a row per sequence. Where they are what its
    compute buffer is made of, on the device of the output head, the formula is closer by up to 1.5 GiB.
    """
    logits = min(plan.parameters.ubatch, plan.parameters.context) * scene.shape.vocabulary * 4

    def measured(memory: DeviceMemory) -> DeviceMemory:
        if memory.device_id not in answer:
            return memory
        weights, kv, compute = answer[memory.device_id]
        if memory.device_id == plan.placement.head and logits <= compute <= logits * LOGITS_SLACK:
            compute = min(compute, memory.compute_bytes)
        return replace(memory, weight_bytes=weights, kv_bytes=kv, compute_bytes=compute, basis="measured")

    memories = without_prompt_cache(tuple(measured(memory) for memory in plan.memory))
    memories, parameters = with_prompt_cache(scene.machine, memories, plan.parameters)
    return replace(plan, memory=memories, parameters=parameters)


def _unseen_gpus(machine: Machine, engine: Engine) -> str | None:
    seen = {device.device_id for device in engine.devices}
    unseen = [d.name for d in machine.devices if d.kind in ("igpu", "dgpu") and d.id not in seen]
    if not unseen:
        return None
    return (
        f"The engine {engine.path.name} does not see {', '.join(unseen)}:"
        " `moetune runtime build` chooses the backend for it."
    )


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def memory_line(memory: DeviceMemory) -> str:
    """`5.0 GiB: weights 3.1 GiB, KV 1.6 GiB, compute 320 MiB`."""
    return (
        f"{bytes_text(memory.total_bytes)}: weights {bytes_text(memory.weight_bytes)},"
        f" KV {bytes_text(memory.kv_bytes)}, compute {bytes_text(memory.compute_bytes)}"
    )
