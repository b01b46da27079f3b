"""Tokens per second from the engine's counters. Pure: the clock comes in with each reading.

Counters move in steps: one token per decode step, a whole batch of prompt tokens at once. So a rate is taken between
the times at which a counter was seen to change, over as few changes as hold enough tokens, and within one
uninterrupted run of decoding or prefilling. The intervals in which a run begins or ends are left out: they are
partly idle, and would draw a dip at both ends of every answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from app.telemetry.sample import SlotSample

WINDOW_S = 5.0
"""How far back a rate may reach, and how long a decode counter may stand still before its rate is a gap."""
ENOUGH_TOKENS = 16
"""With so many, the error of catching the counter between two tokens is about 6 %."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Tokens per second over all slots; `None` is a gap."""

    decode_tps: float | None = None
    prefill_tps: float | None = None


class RateMeter:
    """Turns readings of the slots into rates, one reading at a time."""

    def __init__(self) -> None:
        self._before: dict[int, SlotSample] | None = None
        self._before_at = 0.0
        self._decode = _Run()
        self._prefill = _Run()

    def update(self, at: float, slots: Iterable[SlotSample] | None) -> Rates:
        """Take the next reading.

        Args:
            at: when it was taken, in seconds of a monotonic clock.
            slots: the slots; `None` if they could not be had, which ends every run.
        """
        now = None if slots is None else {slot.id: slot for slot in slots}
        before, interval_s = self._before, at - self._before_at
        self._before, self._before_at = now, at
        if now is None or before is None:
            self._decode.end()
            self._prefill.end()
            before = {}
        if now is None:
            return Rates()
        pairs = [(before.get(slot.id), slot) for slot in now.values()]
        decoded = sum(_grown(old, new, old.decoded_tokens if old else 0, new.decoded_tokens) for old, new in pairs)
        prompted = sum(
            _grown(old, new, old.prompt_tokens_done if old else 0, new.prompt_tokens_done) for old, new in pairs
        )
        decoding = any(slot.busy and slot.decoded_tokens > 0 for slot in now.values())
        prefilling = any(slot.busy and slot.decoded_tokens == 0 for slot in now.values())
        return Rates(
            self._decode_rate(at, decoded, interval_s, running=decoding),
            self._prefill_rate(at, prompted, running=prefilling),
        )

    def _decode_rate(self, at: float, tokens: int, interval_s: float, *, running: bool) -> float | None:
        if not running:
            seen = self._decode.is_running
            self._decode.end()
            # A whole answer between two readings: its average is the best there is.
            return tokens / interval_s if tokens and interval_s > 0 and not seen else None
        if not self._decode.is_running:
            self._decode.begin(at)
            return None
        self._decode.add(at, tokens)
        return None if self._decode.is_stalled(at) else self._decode.rate(one_by_one_until=at)

    def _prefill_rate(self, at: float, tokens: int, *, running: bool) -> float | None:
        """Held between two batches: the newest rate known of a prompt that is still being read."""
        if not self._prefill.is_running:
            if running:
                self._prefill.begin(at)
            return None
        self._prefill.add(at, tokens)
        rate = self._prefill.rate()
        if not running:
            self._prefill.end()
        return rate if running or tokens else None


def _grown(old: SlotSample | None, new: SlotSample, before: int, after: int) -> int:
    """By how much a counter grew; one that belongs to a new task, or went back, started again at zero."""
    if old is None:
        return 0  # a slot seen for the first time: when its tokens were made is not known
    return after - before if old.task == new.task and after >= before else after


class _Run:
    """An uninterrupted stretch of work: a total, and when it was seen to change."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    @property
    def is_running(self) -> bool:
        return bool(self._points)

    def begin(self, at: float) -> None:
        self._points = deque([(at, 0)])

    def end(self) -> None:
        self._points.clear()

    def add(self, at: float, tokens: int) -> None:
        if tokens:
            self._points.append((at, self._points[-1][1] + tokens))
        while len(self._points) > 2 and self._points[0][0] < at - WINDOW_S:
            self._points.popleft()

    def is_stalled(self, at: float) -> bool:
        """Whether it has stood still for longer than its own pace explains."""
        last = self._points[-1][0]
        pace_s = last - self._points[-2][0] if len(self._points) > 1 else 0.0
        return at - last > max(WINDOW_S, 2 * pace_s)

    def rate(self, one_by_one_until: float | None = None) -> float | None:
        """Between the last change and the latest one that lies `ENOUGH_TOKENS` before it, or the first there is.

        Args:
            one_by_one_until: now, where tokens come singly: while the next one has not come, the rate cannot be
                higher than if it came this moment.
        """
        end_at, end_total = self._points[-1]
        enough = (point for point in reversed(self._points) if end_total - point[1] >= ENOUGH_TOKENS)
        start_at, start_total = next(enough, self._points[0])
        if end_at <= start_at:
            return None
        rate = (end_total - start_total) / (end_at - start_at)
        if one_by_one_until is not None:
            rate = min(rate, (end_total + 1 - start_total) / (one_by_one_until - start_at))
        return rate
