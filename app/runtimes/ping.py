"""Whether a host is there at all: an ICMP echo, which needs no port and disturbs no server."""

from __future__ import annotations

import os
import socket
import struct
import time


def answers_ping(host: str, limit_s: float = 1.0) -> bool | None:
    """Whether the host answers an echo in that time; `None`: this user may not send any."""
    kinds = (socket.SOCK_DGRAM, socket.SOCK_RAW)  # the first where net.ipv4.ping_group_range lets us
    for kind in kinds:
        try:
            probe = socket.socket(socket.AF_INET, kind, socket.IPPROTO_ICMP)
        except OSError:
            continue
        with probe:
            return _echoed(probe, host, limit_s, raw=kind is socket.SOCK_RAW)
    return None


def _echoed(probe: socket.socket, host: str, limit_s: float, *, raw: bool) -> bool:
    mark = os.urandom(8)
    header = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1)
    packet = header[:2] + struct.pack("!H", _checksum(header + mark)) + header[4:] + mark
    deadline = time.monotonic() + limit_s
    try:
        probe.sendto(packet, (host, 0))
        while (left := deadline - time.monotonic()) > 0:
            probe.settimeout(left)
            answer = probe.recv(1024)
            answer = answer[20:] if raw else answer  # the kernel leaves the IP header on a raw socket's
            if answer[:1] == b"\0" and answer.endswith(mark):
                return True
    except OSError:
        return False
    return False


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
