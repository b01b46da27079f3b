"""A host that vanishes while an engine uses it: noticed, named, and what can be run without it.

A server that ends closes its connection, and llama.cpp aborts. A host that goes dark closes nothing, and llama.cpp
waits for ever: so hosts that answered an echo at first are asked again while the engine runs. They are not asked at
the server's port: the server accepts nobody beside its client, and its queue holds two (ggml-rpc: listen(fd, 1)).
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from app.errors import EngineFailedError, MoetuneError
from app.jobs.hosts import NO_HOSTS, name_of, trouble_of
from app.jobs.planning import PlannedRun, make_plan
from app.runtimes.llama_command import endpoint_of
from app.runtimes.ping import answers_ping

ECHO_EVERY_S = 2.0
MISSED_ECHOES = 4
"""In a row: a host that is busy loses one now and then."""

_T = TypeVar("_T")


async def while_hosts_last(planned: PlannedRun, work: Coroutine[Any, Any, _T], words: Sequence[str]) -> _T:
    """Do the work; where it fails because a host of the plan is gone, say which, and what to run without it.

    Args:
        planned: what runs.
        work: cancelled when a host goes dark.
        words: of the command line, to be offered again without that host.

    Raises:
        EngineFailedError: as the work does, or naming the host.
    """
    endpoints = endpoints_of(planned)
    task = asyncio.create_task(work)
    dark = asyncio.create_task(_first_dark(endpoints))
    try:
        await asyncio.wait({task, dark}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            said = f"The host of {name_of(dark.result())} vanished: it has not answered for some time."
            raise await asyncio.to_thread(_without, planned, (dark.result(),), words, said)
        try:
            return task.result()
        except EngineFailedError as error:
            troubles = {endpoint: await asyncio.to_thread(trouble_of, endpoint) for endpoint in endpoints}
            gone = tuple(endpoint for endpoint in endpoints if troubles[endpoint])
            if not gone:
                raise
            named = " and ".join(f"{name_of(one)} ({troubles[one]})" for one in gone)
            said = f"A host vanished: {named}. {error.message}"
            raise await asyncio.to_thread(_without, planned, gone, words, said) from error
    finally:
        for one in (task, dark):
            one.cancel()
        await asyncio.gather(task, dark, return_exceptions=True)


def endpoints_of(planned: PlannedRun) -> tuple[str, ...]:
    """The RPC servers that the plan has something on."""
    used = set(planned.plan.placement.devices)
    found = (endpoint_of(device) for device in planned.engine.devices if device.device_id in used)
    return tuple(dict.fromkeys(endpoint for endpoint in found if endpoint is not None))


def words_without(words: Sequence[str], left: Sequence[str]) -> str:
    """The command with those RPC servers alone, without choices that name RPC devices: their numbers have changed."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in ("--rpc", "--devices", "--limit"):
            kept.append(word)
            continue
        value = value if equals else next(rest, "")
        if option != "--rpc" and not any(name.upper().startswith("RPC") for name in value.split(",")):
            kept += [option, value]
    return shlex.join(["moetune", *kept, "--rpc", ",".join(left) or NO_HOSTS])


def _without(planned: PlannedRun, gone: Sequence[str], words: Sequence[str], said: str) -> EngineFailedError:
    """The error that names the host, with the next plan as its hint."""
    request = planned.request
    left = tuple(endpoint for endpoint in request.rpc if endpoint not in gone)
    remotes = ("RPC", "REMOTE:")
    smaller = replace(
        request,
        rpc=left or (NO_HOSTS,),
        devices=() if any(name.upper().startswith(remotes) for name in request.devices) else request.devices,
        limits=tuple(limit for limit in request.limits if not limit[0].upper().startswith(remotes)),
        port=0,
    )
    try:
        plan = make_plan(smaller).plan
    except MoetuneError as error:
        return EngineFailedError(said, hint=f"Without it there is no plan: {error.message}")
    speed = f"{plan.decode.tokens_per_s:.3g} t/s predicted"
    return EngineFailedError(said, hint=f"Without it, {speed}: {words_without(words, left)}")


async def _first_dark(endpoints: Sequence[str]) -> str:
    """The first server whose host stops answering; waits for ever where all go on, or none answers echoes at all."""
    missed: dict[str, int] = {}
    for endpoint in endpoints:
        if await asyncio.to_thread(answers_ping, _host(endpoint)):
            missed[endpoint] = 0
    while missed:
        await asyncio.sleep(ECHO_EVERY_S)
        for endpoint in missed:
            answered = await asyncio.to_thread(answers_ping, _host(endpoint))
            missed[endpoint] = 0 if answered else missed[endpoint] + 1
            if missed[endpoint] == MISSED_ECHOES:
                return endpoint
    await asyncio.Event().wait()
    raise AssertionError("nobody sets that event")


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0]
