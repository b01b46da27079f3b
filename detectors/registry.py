"""Runs the detectors side by side, each with a time limit, and puts what they found together. Never raises."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from detectors.facts import Cpu, Device, KernelFacts, LinkPath, Machine, MemoryFacts, MemoryPool, Problem
from detectors.host import Host
from detectors.pools import with_carveouts
from detectors.topology import link_table


@dataclass(frozen=True, slots=True)
class Peer:
    """What a driver says of two devices reaching each other's memory."""

    from_id: str
    to_id: str
    granted: bool | None
    why: str
    path: LinkPath = "peer-to-peer"
    bandwidth_gbps: float | None = None
    """One direction, where the driver states it."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one detector found out."""

    cpu: Cpu | None = None
    pools: tuple[MemoryPool, ...] = ()
    devices: tuple[Device, ...] = ()
    kernel: KernelFacts | None = None
    memory: MemoryFacts | None = None
    problems: tuple[Problem, ...] = ()
    peers: tuple[Peer, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    engine_files: tuple[str, ...] = ()
    elapsed_ms: float | None = None
    """How long it took; set by the registry."""


Detect = Callable[[Host], Found]

_DETECTORS: dict[str, Detect] = {}


def detector(name: str) -> Callable[[Detect], Detect]:
    """Register a function as the detector of that name."""

    def register(function: Detect) -> Detect:
        _DETECTORS[name] = function
        return function

    return register


def registered() -> Mapping[str, Detect]:
    """Every detector by name, in the order in which their devices are listed."""
    from detectors import cpu, elsewhere, engines, gpu_amd, gpu_intel, gpu_nvidia, kernel, memory

    modules = (cpu, memory, kernel, gpu_nvidia, gpu_amd, gpu_intel, engines, elsewhere)
    order = [module.__name__.rpartition(".")[2] for module in modules]
    return {name: _DETECTORS[name] for name in order}


def detect(host: Host | None = None, timeout_s: float = 3.0) -> Machine:
    """Find out everything about a host.

    Args:
        host: the host; this machine when `None`.
        timeout_s: the time limit of each detector; they run at the same time.
    """
    host = host or Host()
    return merge(host, detect_each(host, timeout_s))


def detect_each(
    host: Host, timeout_s: float = 3.0, detectors: Mapping[str, Detect] | None = None
) -> Iterator[tuple[str, Found]]:
    """Yield each detector's name and findings as it ends; one that hangs or fails yields a `Problem`."""
    chosen = registered() if detectors is None else detectors
    answers: queue.SimpleQueue[tuple[str, Found]] = queue.SimpleQueue()
    # Daemon threads and not a pool: a detector that hangs in the kernel must not keep the process from ending.
    for name, function in chosen.items():
        threading.Thread(target=_run, args=(name, function, host, answers), name=f"detect-{name}", daemon=True).start()
    waiting = set(chosen)
    deadline = time.monotonic() + timeout_s
    while waiting:
        try:
            name, found = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        waiting.discard(name)
        yield name, found
    for name in chosen:
        if name in waiting:
            late = Problem(name, f"gave no answer within {timeout_s:g} s")
            yield name, Found(problems=(late,), elapsed_ms=timeout_s * 1000)


def _run(name: str, function: Detect, host: Host, answers: queue.SimpleQueue[tuple[str, Found]]) -> None:
    started = time.perf_counter()
    try:
        found = function(host)
    except Exception as error:  # noqa: BLE001  a fault in one detector must not cost the facts of the others
        reason = f"failed on an answer it did not expect ({type(error).__name__}: {error})"
        found = Found(problems=(Problem(name, reason),))
    elapsed_ms = (time.perf_counter() - started) * 1000
    answers.put((name, replace(found, elapsed_ms=round(elapsed_ms, 3))))


def merge(host: Host, founds: Iterable[tuple[str, Found]]) -> Machine:
    """Put the findings together; the order of devices does not depend on which detector ended first.

    A device whose memory is unknown is left out with a `Problem`, so that every device's pool is there.
    """
    by_name = dict(founds)
    order = [name for name in registered() if name in by_name]
    ordered = [by_name[name] for name in [*order, *(name for name in by_name if name not in order)]]
    known = {pool.id: pool for found in ordered for pool in found.pools}
    devices: list[Device] = []
    problems = [problem for found in ordered for problem in found.problems]
    for device in (device for found in ordered for device in found.devices):
        if device.pool_id in known:
            devices.append(device)
        else:
            problems.append(Problem(device.id, f"{device.name} is left out: the size of its memory is not known"))
    pools, bounded = with_carveouts(tuple(known.values()), devices)
    kernel = next((found.kernel for found in ordered if found.kernel is not None), None)
    peers = [peer for found in ordered for peer in found.peers]
    return Machine(
        host_name=host.text("/proc/sys/kernel/hostname") or host.text("/etc/hostname") or "unknown",
        cpu=next((found.cpu for found in ordered if found.cpu is not None), None),
        pools=pools,
        devices=bounded,
        links=link_table(bounded, {pool.id: pool for pool in pools}, peers, kernel),
        kernel=kernel,
        memory=next((found.memory for found in ordered if found.memory is not None), None),
        problems=tuple(problems),
        environment={key: value for found in ordered for key, value in found.environment.items()},
        engine_files=tuple(path for found in ordered for path in found.engine_files),
        elapsed_ms={name: found.elapsed_ms for name, found in by_name.items() if found.elapsed_ms is not None},
    )
