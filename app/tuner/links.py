"""How far away an RPC server is: the time of a TCP handshake, which is one way there and back."""

from __future__ import annotations

import time

from app.runtimes.rpc_servers import CONNECT_LIMIT_S, parse_endpoint

HANDSHAKES = 7


def round_trip_us(endpoint: str) -> float | None:
    """Microseconds there and back, the least of a few; `None` where the server does not answer.

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
