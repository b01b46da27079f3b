"""Who else used the processor while the engine ran: without that, a slow run says nothing about a prediction."""

from __future__ import annotations

import time


class Contention:
    """Counts the CPU time of everything but this process and the engine.

    Args:
        engine_pid: the engine's process; `None` where there is none yet.
    """

    def __init__(self, engine_pid: int | None) -> None:
        self._pid = engine_pid
        self._begun = time.monotonic()
        self._busy_s, self._ours_s = _busy_s(), _used_s(engine_pid)

    def other_cores(self) -> float | None:
        """How many cores other programs kept busy since the start, on average; `None` where it cannot be known."""
        elapsed, ours = time.monotonic() - self._begun, _used_s(self._pid)
        if elapsed <= 0 or ours is None or self._ours_s is None:
            return None
        return max(0.0, (_busy_s() - self._busy_s - (ours - self._ours_s)) / elapsed)


def _busy_s() -> float:
    import psutil

    times = psutil.cpu_times()
    idle: float = times.idle + getattr(times, "iowait", 0.0)
    # Linux counts guest time within user time.
    return float(sum(times)) - idle - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)


def _used_s(pid: int | None) -> float | None:
    import psutil

    try:
        used = [psutil.Process(one).cpu_times() for one in {pid, None}]
    except psutil.Error:
        return None
    return sum(times.user + times.system for times in used)
