"""Rates from counters: true in the middle of a run, and gaps where nothing is known."""

from __future__ import annotations

import math
import random

import pytest

from app.telemetry.rates import WINDOW_S, RateMeter, Rates
from app.telemetry.ring import Ring
from app.telemetry.sample import SlotSample


def slot(decoded: int = 0, *, done: int = 0, task: int = 1, busy: bool = True, number: int = 0) -> SlotSample:
    return SlotSample(number, busy, done, 1000, decoded, task, 4096)


IDLE = slot(task=-1, busy=False)


def feed(*readings: tuple[float, SlotSample | None]) -> list[Rates]:
    """The rates of one slot's readings; `None` is one that could not be had."""
    meter = RateMeter()
    return [meter.update(at, None if each is None else (each,)) for at, each in readings]


def decode(*readings: tuple[float, SlotSample | None]) -> list[float | None]:
    return [rates.decode_tps for rates in feed(*readings)]


def test_a_steady_run_shows_its_rate() -> None:
    assert decode((0.0, slot(10)), (0.5, slot(30)), (1.0, slot(50))) == [None, 40, 40]


def test_the_interval_in_which_decoding_begins_or_ends_draws_no_dip() -> None:
    readings = ((0.0, IDLE), (0.5, slot(3)), (1.0, slot(23)), (1.5, slot(43)), (2.0, slot(46, busy=False)))
    assert decode(*readings) == [None, None, 40, 40, None]


def test_idle_is_a_gap_and_no_zero() -> None:
    assert decode((0.0, IDLE), (0.5, IDLE), (1.0, IDLE)) == [None, None, None]


def test_a_new_task_starts_counting_at_zero() -> None:
    assert decode((0.0, slot(900)), (0.5, slot(920)), (1.0, slot(16, task=2)), (1.5, slot(36, task=2))) == [
        None,
        40,
        32,
        40,
    ]


def test_a_counter_that_went_back_is_a_new_start() -> None:
    assert decode((0.0, slot(900)), (0.5, slot(18)), (1.0, slot(38))) == [None, 36, 40]


def test_the_reset_at_the_end_of_a_request_yields_nothing() -> None:
    ended = slot(0, done=0, busy=False)  # llama-server clears its counters as it frees the slot
    assert feed((0.0, slot(100, done=50)), (0.5, slot(120, done=50)), (1.0, ended))[-1] == Rates()


def test_after_a_gap_counting_starts_anew() -> None:
    assert decode((0.0, slot(10)), (0.5, slot(30)), (1.0, None), (1.5, slot(500)), (2.0, slot(520))) == [
        None,
        40,
        None,
        None,
        40,
    ]


def test_a_late_reading_is_averaged_over_its_own_time() -> None:
    assert decode((0.0, slot(10)), (4.0, slot(50)))[-1] == 10


def test_all_slots_count_together() -> None:
    meter = RateMeter()
    idle = slot(task=-1, busy=False, number=2)
    meter.update(0.0, (slot(10), slot(5, number=1), idle))
    assert meter.update(0.5, (slot(20), slot(25, number=1), idle)).decode_tps == 60


def test_a_slot_that_leaves_does_not_end_the_others_run() -> None:
    meter = RateMeter()
    meter.update(0.0, (slot(10), slot(5, number=1)))
    rates = meter.update(0.5, (slot(30), slot(9, number=1, busy=False)))
    assert rates.decode_tps == 48


def test_a_slot_seen_first_brings_no_burst() -> None:
    meter = RateMeter()
    meter.update(0.0, (slot(10),))
    assert meter.update(0.5, (slot(30), slot(5000, number=1))).decode_tps == 40


def test_an_answer_between_two_readings_counts_by_its_average() -> None:
    assert decode((0.0, IDLE), (0.5, slot(30, busy=False)), (1.0, slot(30, busy=False))) == [None, 60, None]


@pytest.mark.parametrize("tps", [0.7, 3.0, 44.7, 612.0])
def test_a_rate_is_right_within_a_tenth_whatever_its_size(tps: float) -> None:
    clock = random.Random(4)
    meter = RateMeter()
    at, seen = 0.0, []
    while at < 40:
        rate = meter.update(at, (slot(1 + math.floor(at * tps)),)).decode_tps
        if at > 10:
            seen.append(rate)
        at += 0.5 * clock.uniform(0.9, 1.1)
    known = [rate for rate in seen if rate is not None]
    assert len(known) == len(seen)
    assert sum(known) / len(known) == pytest.approx(tps, rel=0.03)
    assert all(rate == pytest.approx(tps, rel=0.35 if tps < 1 else 0.1) for rate in known)


def test_a_run_that_stands_still_falls_and_becomes_a_gap() -> None:
    meter = RateMeter()
    meter.update(0.0, (slot(10),))
    assert meter.update(0.5, (slot(30),)).decode_tps == 40
    assert meter.update(1.0, (slot(30),)).decode_tps == 21
    assert meter.update(WINDOW_S, (slot(30),)).decode_tps == 21 / WINDOW_S
    assert meter.update(WINDOW_S + 1, (slot(30),)).decode_tps is None


def test_prefill_is_measured_between_its_batches_and_held_meanwhile() -> None:
    meter = RateMeter()
    meter.update(0.0, (IDLE,))
    rates = []
    for tick in range(1, 26):  # a batch of 2048 tokens each four seconds
        at = tick / 2
        rates.append(meter.update(at, (slot(done=2048 * int((at - 0.5) // 4)),)).prefill_tps)
    assert rates[:8] == [None] * 8
    assert rates[8:] == [512] * 17


def test_the_last_batch_of_a_prompt_counts_and_then_prefill_is_over() -> None:
    readings = feed(
        (0.0, IDLE), (0.5, slot()), (1.0, slot(done=100)), (1.5, slot(3, done=200)), (2.0, slot(20, done=200))
    )
    assert [each.prefill_tps for each in readings] == [None, None, 200, 200, None]


def test_a_prompt_that_is_read_between_two_readings_has_no_rate() -> None:
    assert [each.prefill_tps for each in feed((0.0, IDLE), (0.5, slot(9, done=700)), (1.0, slot(29, done=700)))] == [
        None,
        None,
        None,
    ]


def test_the_next_prompt_has_a_rate_of_its_own() -> None:
    first = ((0.0, slot()), (1.0, slot(done=100)), (2.0, slot(5, done=100)))
    second = ((9.0, slot(task=2)), (10.0, slot(done=500, task=2)))
    assert [each.prefill_tps for each in feed(*first, *second)] == [None, 100, None, None, 500]


def test_a_prompt_that_is_given_up_has_no_last_rate() -> None:
    readings = feed((0.0, slot()), (0.5, slot(done=100)), (1.0, slot(done=0, busy=False)))
    assert [each.prefill_tps for each in readings] == [None, 200, None]


def test_a_ring_keeps_the_newest_and_its_gaps() -> None:
    ring = Ring(3)
    assert (ring.latest, ring.values()) == (None, ())
    for value in (1.0, 2.0, None, 4.0):
        ring.append(value)
    assert ring.values() == (2.0, None, 4.0)
    assert (ring.latest, len(ring), ring.capacity) == (4.0, 3, 3)
    ring.clear()
    assert ring.values() == ()
    with pytest.raises(ValueError, match="at least one"):
        Ring(0)
