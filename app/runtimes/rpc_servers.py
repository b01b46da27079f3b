"""Whether RPC servers answer, asked before any engine is: an engine that cannot reach one aborts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from app.errors import NoEngineError, UsageError

CONNECT_LIMIT_S = 2.0
"""A host on the same network answers within milliseconds; a powered-off one never does."""


def parse_endpoint(text: str) -> tuple[str, int]:
    """Split `host:port`.

    Raises:
        UsageError: it is none.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{text!r} is no RPC server.", hint="Write it as host:port, such as 192.168.1.20:50052.")
    return host, int(port)


def require_reachable(servers: Sequence[str]) -> None:
    """Connect to every server at once.

    Raises:
        UsageError: a server is not written as `host:port`.
        NoEngineError: one or more do not answer; the message names them all.
    """
    endpoints = [parse_endpoint(server) for server in servers]
    silent: dict[str, str] = {}

    def work(server: str, host: str, port: int) -> None:
        import socket

        try:
            socket.create_connection((host, port), timeout=CONNECT_LIMIT_S).close()
        except OSError as error:
            silent[server] = error.strerror or str(error)

    threads = [
        threading.Thread(target=work, args=(server, *endpoint), daemon=True)
        for server, endpoint in zip(servers, endpoints, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if silent:
        named = ", ".join(f"{server} ({silent[server].lower()})" for server in servers if server in silent)
        raise NoEngineError(
            f"No RPC server answers at {named}.",
            hint="Start `ggml-rpc-server -H HOST -p PORT` there, or take it out of --rpc.",
        )
