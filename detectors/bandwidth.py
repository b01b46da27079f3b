"""How fast this machine's CPUs read their memory, measured. Explicit only: it keeps every core busy for a second.

Decoding a token streams weights from memory once, so a read-only stream is the right proxy. `memchr` from libc is
one (vectorised, and ctypes lets go of the interpreter's lock while it runs), so nothing has to be compiled.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from detectors.cpulist import parse_cpulist
from detectors.host import Host
from detectors.memory import detect_memory
from detectors.numbers import natural

_LEAST_BYTES = 1 << 30
_CACHE_MULTIPLE = 4  # of all third-level caches together: less, and a part of the reads never reaches memory
_MOST_OF_FREE = 0.25
_FILLING = 0x5A
_ABSENT = 0xA5

Find = Callable[[int, int, int], int | None]
"""`memchr`: address, byte, length."""


@dataclass(slots=True)
class _Rounds:
    """When each thread read its buffer, round by round; a round counts once all threads have done it."""

    barrier: threading.Barrier
    stop_at: float
    spans: list[list[tuple[float, float]]] = field(default_factory=list)


def measure_read_bandwidth(threads: int, *, budget_s: float = 1.0) -> float | None:
    """Stream through more memory than the caches hold, on several threads at once.

    Args:
        threads: how many threads read; the number of physical cores is a good one.
        budget_s: when to stop starting rounds; there is at least one, and filling the buffers counts.

    Returns:
        GB/s of the best round, or `None` where libc cannot be called or the memory is too short.
    """
    find = _memchr()
    size = stream_bytes(Host()) // max(1, threads) // mmap.PAGESIZE * mmap.PAGESIZE
    if find is None or threads < 1 or size <= 0:
        return None
    rounds = _Rounds(threading.Barrier(threads), time.perf_counter() + budget_s, [[] for _ in range(threads)])
    workers = [
        threading.Thread(target=_stream, args=(find, rounds, index, size), name=f"stream-{index}", daemon=True)
        for index in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    whole = min(len(spans) for spans in rounds.spans)
    if not whole:
        return None
    seconds = min(
        max(spans[turn][1] for spans in rounds.spans) - min(spans[turn][0] for spans in rounds.spans)
        for turn in range(whole)
    )
    return size * threads / seconds / 1e9 if seconds > 0 else None


def stream_bytes(host: Host) -> int:
    """How much to stream: enough that the caches do not matter, but at most a quarter of the free memory."""
    wanted = max(_LEAST_BYTES, _CACHE_MULTIPLE * third_level_bytes(host))
    pools = detect_memory(host).pools
    free = (pools[0].available_bytes or pools[0].total_bytes) if pools else wanted
    return min(wanted, int(free * _MOST_OF_FREE))


def third_level_bytes(host: Host) -> int:
    """All third-level caches together; 0 where the kernel names none."""
    sizes: dict[frozenset[int], int] = {}
    for cpu in sorted(parse_cpulist(host.text("/sys/devices/system/cpu/online")) or ()):
        folder = f"/sys/devices/system/cpu/cpu{cpu}/cache"
        for index in host.names(folder):
            if index.startswith("index") and host.integer(f"{folder}/{index}/level") == 3:
                shared = parse_cpulist(host.text(f"{folder}/{index}/shared_cpu_list")) or frozenset({cpu})
                text = host.text(f"{folder}/{index}/size") or ""
                sizes[shared] = (natural(text.removesuffix("K")) or 0) * 1024
    return sum(sizes.values())


def _memchr() -> Find | None:
    try:
        find = ctypes.CDLL(None).memchr
    except (OSError, AttributeError):
        return None
    find.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
    find.restype = ctypes.c_void_p
    typed: Find = find
    return typed


def _stream(find: Find, rounds: _Rounds, index: int, size: int) -> None:
    """Fill a buffer of this thread's own (its pages then lie on its NUMA node), and read it in step with the rest."""
    try:
        buffer = mmap.mmap(-1, size)
        view = ctypes.c_char.from_buffer(buffer)  # holds the buffer open for as long as its address is in use
        address = ctypes.addressof(view)
        ctypes.memset(address, _FILLING, size)
        rounds.barrier.wait()
        while rounds.stop_at > 0.0:
            started = time.perf_counter()
            find(address, _ABSENT, size)
            rounds.spans[index].append((started, time.perf_counter()))
            # One thread decides for all: else some would wait at the barrier for others that stopped.
            if rounds.barrier.wait() == 0 and time.perf_counter() >= rounds.stop_at:
                rounds.stop_at = 0.0
            rounds.barrier.wait()
    except (OSError, ValueError, MemoryError, threading.BrokenBarrierError):
        rounds.barrier.abort()
