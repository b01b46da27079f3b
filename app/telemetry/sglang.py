"""The speed of a running SGLang, from counters that are read again and again.

It has no slots to be read as llama-server has; its counters of tokens grow with every pass.
"""

from __future__ import annotations

import json
import time
from collections import deque
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from app.telemetry.rates import ENOUGH_TOKENS, WINDOW_S, Rates
from app.telemetry.sglang_answers import (
    SglangCounters,
    SglangInfo,
    parse_metrics,
    parse_server_info,
)

_MOST_BYTES = 8 << 20


class SglangMeter:
    """Turns readings of the counters into rates, one reading at a time."""

    def __init__(self) -> None:
        self._decode = _Growth()
        self._prefill = _Growth()

    def update(self, at: float, counters: SglangCounters | None) -> Rates:
        """Take the next reading.

        Args:
            at: when it was taken, in seconds of a monotonic clock.
            counters: what was read; `None` if it could not be had, which ends every run.
        """
        if counters is None:
            self._decode.end()
            self._prefill.end()
            return Rates()
        idle = counters.running == 0
        return Rates(
            self._decode.rate(at, counters.decoded_tokens, idle=idle),
            self._prefill.rate(at, counters.prompt_tokens, idle=idle),
        )


class _Growth:
    """How fast a counter grows while it does.

    The reading at which it begins to grow is where its rate is counted from: the time before it is partly idle.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._points: deque[tuple[float, int]] = deque()

    def end(self) -> None:
        self._last = None
        self._points.clear()

    def rate(self, at: float, total: int | None, *, idle: bool) -> float | None:
        if total is None or (self._last is not None and total < self._last):  # gone, or started anew
            self.end()
        grew = total is not None and self._last is not None and total > self._last
        self._last = total
        if grew and total is not None:
            self._points.append((at, total))
        if self._points and self._is_stalled(at, idle=idle):
            self._points.clear()
        while len(self._points) > 2 and self._points[0][0] < at - WINDOW_S:
            self._points.popleft()
        if len(self._points) < 2:
            return None
        end_at, end = self._points[-1]
        enough = (point for point in reversed(self._points) if end - point[1] >= ENOUGH_TOKENS)
        start_at, start = next(enough, self._points[0])
        return (end - start) / (end_at - start_at)

    def _is_stalled(self, at: float, *, idle: bool) -> bool:
        """Whether it has stood still for longer than its own pace explains.

        That nothing is worked on is said late, and so is believed only of a counter that misses its pace.
        """
        pace_s = self._points[-1][0] - self._points[-2][0] if len(self._points) > 1 else WINDOW_S
        return at - self._points[-1][0] > (2 * pace_s if idle else max(WINDOW_S, 2 * pace_s))


class SglangReader:
    """Reads one server over one connection; not thread-safe.

    Args:
        url: the server.
        timeout_s: how long one reading may take.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._connection = HTTPConnection(parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout_s)
        self.reachable = False
        """Whether it answered the last time, with whatever."""

    def counters(self) -> SglangCounters | None:
        """The counters now; `None`: they cannot be had, or it is no SGLang with `--enable-metrics`."""
        body = self._get("/metrics")
        return None if body is None else parse_metrics(body)

    def info(self) -> SglangInfo | None:
        """What it says of itself; `None`: it cannot be had."""
        body = self._get("/server_info")
        try:
            return None if body is None else parse_server_info(json.loads(body))
        except ValueError:
            return None

    def close(self) -> None:
        """Give up the connection."""
        self._connection.close()

    def _get(self, path: str) -> str | None:
        try:
            self._connection.request("GET", path)
            response = self._connection.getresponse()
            body = response.read(_MOST_BYTES)
            response.close()
        except (OSError, HTTPException):
            self.close()
            self.reachable = False
            return None
        self.reachable = response.status != 503  # 503: it loads its model
        return body.decode("utf-8", "replace") if response.status == 200 else None


class SglangWatch:
    """The rates of one server, for whoever asks at regular times; one that is no SGLang is asked once."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._reader = SglangReader(url, timeout_s)
        self._meter = SglangMeter()
        self._is_other = False

    def rates(self) -> Rates:
        """Tokens per second now; gaps where nothing is worked on or nothing is known."""
        counters = None if self._is_other else self._reader.counters()
        self._is_other = self._is_other or (counters is None and self._reader.reachable)
        return self._meter.update(time.monotonic(), counters)

    def close(self) -> None:
        """Give up the connection."""
        self._reader.close()
