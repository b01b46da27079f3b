"""How far away an RPC server is and how much comes through: its own protocol says, else a TCP handshake."""

from __future__ import annotations

import time
from dataclasses import dataclass

from app.errors import UsageError
from app.runtimes.rpc_client import OLDEST, RpcClient, RpcError
from app.runtimes.rpc_servers import CONNECT_LIMIT_S, parse_endpoint

HANDSHAKES = 7
ASKINGS = 15
"""Requests that a server answers without any work: the least of their times is the way there and back."""
CHUNK_BYTES = 1 << 20
"""Sent one behind the other, so that the server prepares the next while the network has the last."""
MOST_CHUNKS = 64
ENOUGH_S = 0.4
"""A transfer as long as this is longer than TCP needs to fill a link: with 20 ms there and back some 10 windows."""


@dataclass(frozen=True, slots=True)
class MeasuredLink:
    """The way to an RPC server, as it was just measured."""

    round_trip_us: float | None
    """There and back."""
    bandwidth_gbps: float | None
    """GB/s from there to here."""
    why: str = ""
    """Why a figure is missing."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What an RPC server says of itself, and the way to it."""

    endpoint: str
    version: str
    """Of its protocol."""
    memory_bytes: tuple[tuple[int, int], ...]
    """Free and total bytes of each device that it lends."""
    link: MeasuredLink


def round_trip_us(endpoint: str) -> float | None:
    """Microseconds of a TCP handshake, the least of a few; `None` where the server does not answer.

    Such a server has one client at a time: others wait. So it is asked while no engine uses it.
    """
    import socket

    host, port = parse_endpoint(endpoint)
    found = []
    for _ in range(HANDSHAKES):
        began = time.perf_counter()
        try:
            socket.create_connection((host, port), timeout=CONNECT_LIMIT_S).close()
        except OSError:
            return None
        found.append(time.perf_counter() - began)
    return 1e6 * min(found)


def ask_server(endpoint: str) -> ServerFacts:
    """What the server lends, and the way to it: about a second.

    Raises:
        RpcError: nobody answers, the server serves another engine, or it is none.
        UsageError: it is not written as `host:port`.
    """
    with RpcClient(endpoint) as client:
        version = ".".join(map(str, client.version))
        if client.version[0] < OLDEST:
            link = MeasuredLink(round_trip_us(endpoint), None, f"its protocol {version} is too old to be measured by")
            return ServerFacts(endpoint, version, (), link)
        memory = tuple(client.memory(device) for device in range(client.device_count()))
        return ServerFacts(endpoint, version, memory, _measured(client))


def measure_link(endpoint: str) -> MeasuredLink:
    """The way to a server: by its protocol, else the handshake alone, with the reason."""
    try:
        return ask_server(endpoint).link
    except RpcError as error:
        return MeasuredLink(None if "serves another" in str(error) else round_trip_us(endpoint), None, str(error))
    except UsageError as error:
        return MeasuredLink(None, None, error.message)


def _measured(client: RpcClient) -> MeasuredLink:
    way_s = min(_timed(client) for _ in range(ASKINGS))
    try:
        handle, base = client.buffer(CHUNK_BYTES)
        chunks, took_s = 1, _transfer(client, handle, base, 1)
        while took_s < ENOUGH_S / 2 and chunks < MOST_CHUNKS:
            chunks = min(MOST_CHUNKS, max(2 * chunks, round(chunks * ENOUGH_S / took_s)))
            took_s = _transfer(client, handle, base, chunks)
        if chunks > 1:  # the first opens TCP's window and has the pages there: no other of its length is needed
            took_s = min(took_s, _transfer(client, handle, base, chunks))
        client.free(handle)
    except RpcError as error:
        return MeasuredLink(1e6 * way_s, None, str(error))
    return MeasuredLink(1e6 * way_s, chunks * CHUNK_BYTES / max(took_s - way_s, 1e-6) / 1e9)


def _transfer(client: RpcClient, handle: int, base: int, chunks: int) -> float:
    began = time.perf_counter()
    client.read(handle, base, CHUNK_BYTES, chunks)
    return time.perf_counter() - began


def _timed(client: RpcClient) -> float:
    began = time.perf_counter()
    client.device_count()
    return time.perf_counter() - began
