"""Is the port free? Asked before the start: engines set SO_REUSEPORT, so two of them would silently share one."""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

from app.errors import PortInUseError, UsageError


def address_of(url: str) -> tuple[str, int]:
    """Host and port of an engine's URL.

    Raises:
        UsageError: there is no port in it, or no usable one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port = None
    if not port or not parts.hostname:
        raise UsageError(f"{url!r} does not say where the engine is to answer.", hint="Use --port 1024 to 65535.")
    return parts.hostname, port


def check_port(url: str) -> None:
    """Make sure that an engine could listen at `url`.

    Raises:
        PortInUseError: somebody listens there; the message names who, where /proc tells.
        UsageError: the address is not this machine's, or the port needs root.
    """
    host, port = address_of(url)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # Lets connections that linger after an earlier engine pass; a listener still refuses.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            holder = _holder(port)
            raise PortInUseError(
                f"Port {port} on {host} is in use{f' by {holder}' if holder else ''}.",
                hint=f"Choose another one, such as --port {port + 1 if port < 65535 else 8081}, or end that program.",
            ) from error
        if error.errno == errno.EACCES:
            raise UsageError(f"Port {port} is reserved for root.", hint="Use --port 1024 to 65535.") from error
        raise UsageError(
            f"The engine cannot listen on {host}: {error.strerror}.", hint="Use an address of this machine."
        ) from error


def _holder(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
                continue
            if connection.laddr.port == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except (psutil.Error, OSError):
        return ""
    return ""
