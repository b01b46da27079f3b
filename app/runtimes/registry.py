"""Every runtime there is, and every engine that was found with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from app.errors import NoEngineError
from app.runtimes.base import Engine, Runtime
from app.runtimes.llama_command import endpoint_of
from app.runtimes.llama_devices import match_devices
from app.runtimes.llama_server import BrokenEngine, LlamaServer, Survey, inspect
from app.runtimes.rpc_servers import require_reachable
from detectors.facts import Device, Machine, MemoryPool


def runtimes() -> dict[str, Runtime]:
    """Every runtime by its name, the preferred one first."""
    from app.runtimes.embedded import Embedded

    return {runtime.name: runtime for runtime in (LlamaServer(), Embedded())}


def find_engines(rpc: tuple[str, ...] = (), machine: Machine | None = None) -> tuple[Engine, ...]:
    """Every engine that works, best first: configured, built, on PATH, in a known place, embedded.

    Args:
        rpc: `host:port` of RPC servers whose devices are wanted.
        machine: detected devices that the engines' own are matched with.

    Raises:
        UsageError: an RPC server is not written as `host:port`.
        NoEngineError: an RPC server does not answer, or none of the engines found gets through to it.
    """
    survey = survey_engines(rpc, machine)
    if rpc and survey.broken and not any("--rpc" in engine.flags for engine in survey.engines):
        broken = survey.broken[0]
        raise NoEngineError(f"{broken.path} cannot use {', '.join(rpc)}. {broken.reason}", hint=broken.hint)
    return survey.engines


def survey_engines(rpc: tuple[str, ...] = (), machine: Machine | None = None) -> Survey:
    """Like `find_engines`, with the binaries that cannot be used and why, for `runtime list`.

    Raises:
        UsageError: an RPC server is not written as `host:port`.
        NoEngineError: an RPC server does not answer.
    """
    survey = LlamaServer().survey(rpc)
    from app.runtimes.embedded import Embedded

    engines = (*survey.engines, *Embedded().discover(rpc))
    return Survey(tuple(_matched(engine, machine) for engine in engines), survey.broken)


def engine_at(path: Path, rpc: tuple[str, ...] = (), machine: Machine | None = None) -> Engine:
    """The engine of that very file, wherever it lies.

    Raises:
        UsageError: an RPC server is not written as `host:port`.
        NoEngineError: it cannot be used, with the reason; or an RPC server does not answer.
    """
    require_reachable(rpc)
    found = inspect(path, "configured", rpc)
    if isinstance(found, BrokenEngine):
        raise NoEngineError(f"{path} cannot be used. {found.reason}", hint=found.hint)
    return _matched(found, machine)


def machine_with_remotes(machine: Machine, engine: Engine) -> Machine:
    """The machine with a device for each RPC device of the engine, and the memory pool that it draws on.

    Neither the speed of a remote device nor that of the link to it is known from here: both stay `None` until they
    are measured. A server on this very host draws on the host's own memory, counted once, and reads it as the CPU does.
    """
    devices: list[Device] = []
    pools: list[MemoryPool] = []
    cpu = next((device for device in machine.devices if device.kind == "cpu"), None)
    known = {device.id for device in machine.devices}
    for device in engine.devices:
        endpoint = endpoint_of(device)
        if endpoint is None or device.device_id is None or device.device_id in known or device.total_bytes is None:
            continue
        name = f"{device.name} at {endpoint}"
        if is_loopback(endpoint) and cpu is not None:
            pool_id, bandwidth_gbps = cpu.pool_id, cpu.bandwidth_gbps
        else:
            pool_id, bandwidth_gbps = device.device_id, None
            pools.append(MemoryPool(pool_id, name, device.total_bytes, device.free_bytes))
        devices.append(Device(device.device_id, "remote", name, "", pool_id, bandwidth_gbps=bandwidth_gbps))
    return replace(machine, devices=(*machine.devices, *devices), pools=(*machine.pools, *pools))


def bounded_by_engine(machine: Machine, engine: Engine) -> Machine:
    """The machine with no more memory on each device than the engine can use of it.

    ROCm on an APU sees GTT or carve-out, not both, where Vulkan sees the sum: the engine's total knows.
    """
    totals = {device.device_id: device.total_bytes for device in engine.devices if device.total_bytes}

    def bounded(device: Device) -> Device:
        total = totals.get(device.id)
        if total is None or device.kind == "remote" or (device.limit_bytes is not None and device.limit_bytes <= total):
            return device
        return replace(device, limit_bytes=total)

    return replace(machine, devices=tuple(bounded(device) for device in machine.devices))


def is_loopback(endpoint: str) -> bool:
    """Whether `host:port` is on this host."""
    host = endpoint.rpartition(":")[0].strip("[]")
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _matched(engine: Engine, machine: Machine | None) -> Engine:
    return replace(engine, devices=match_devices(engine.devices, machine)) if machine else engine
