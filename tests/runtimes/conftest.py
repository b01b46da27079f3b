"""Engines and plans for the tests of the runtimes, made up."""

from __future__ import annotations

from pathlib import Path

from app.runtimes.base import Engine, EngineDevice
from app.runtimes.llama_devices import CPU_DEVICE
from app.runtimes.llama_flags import parse_help
from app.solver.model import Workload
from app.solver.plan import Parameters, Placement, Plan, Prediction

OPTIONS = Path(__file__).parent / "options"
"""The option names of real versions, one line per option, `VALUE` after those that take one."""


def engine_of(version: str = "0.5.0", devices: tuple[EngineDevice, ...] = ()) -> Engine:
    """An engine that speaks that version's dialect; nothing is run."""
    known = parse_help((OPTIONS / f"llama-server-{version}.txt").read_text())
    return Engine(
        runtime="llama_server",
        path=Path("/opt/llama.cpp/bin/llama-server"),
        origin="configured",
        version=version,
        backends=("CPU",),
        devices=(CPU_DEVICE, *devices),
        flags=known.flags,
        switches=known.switches,
    )


def device(name: str, device_id: str, buffer_type: str = "") -> EngineDevice:
    return EngineDevice(name, buffer_type or name, name, 24 << 30, 23 << 30, device_id)


def plan_of(
    attention: str, experts: tuple[str, ...], *, model: str = "/models/m.gguf", load_mode: str = "none"
) -> Plan:
    """A plan of which only the placement and the parameters matter here."""
    parameters = Parameters(
        context=8192,
        parallel=1,
        ubatch=512,
        batch=2048,
        kv_type_k="f16",
        kv_type_v="f16",
        flash_attention=True,
        load_mode=load_mode,
        threads=2,
        threads_batch=2,
    )
    return Plan(
        model_name="m",
        model_path=model,
        workload=Workload(),
        placement=Placement.on(attention, experts),
        parameters=parameters,
        memory=(),
        decode=Prediction(10.0, 8.0, 12.0, "estimated", 0, ()),
        alternatives=(),
    )
