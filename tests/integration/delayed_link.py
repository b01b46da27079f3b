"""A link between two network namespaces that delays packets, for kernels without netem: two TUN devices, relayed.

Run as `python -m tests.integration.delayed_link ONE OTHER MS`; it says `up` when both devices are there, and takes
them with it when it ends.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import sys
import time
from collections import deque

_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_MTU_AND_MORE = 1 << 16


def opened(name: str) -> int:
    """A new TUN device's descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
    return descriptor


def relay(one: int, other: int, delay_s: float) -> None:
    """Pass every packet on, that much later, for ever."""
    waiting: deque[tuple[float, int, bytes]] = deque()
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, to, packet = waiting.popleft()
            try:
                os.write(to, packet)
            except OSError:
                continue  # the device is down, or full: a network loses packets
        pause_s = max(0.0, waiting[0][0] - now) if waiting else 1.0
        for ready in select.select([one, other], [], [], pause_s)[0]:
            try:
                packet = os.read(ready, _MTU_AND_MORE)
            except OSError:
                continue
            waiting.append((time.monotonic() + delay_s, other if ready == one else one, packet))


if __name__ == "__main__":
    ends = opened(sys.argv[1]), opened(sys.argv[2])
    print("up", flush=True)
    relay(*ends, float(sys.argv[3]) / 1e3)
