"""The sampler against a real engine process: its rates are the engine's, and its gaps are gaps."""

from __future__ import annotations

import itertools
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.telemetry.client import stream_chat
from app.telemetry.sample import EMPTY, Sample
from app.telemetry.sampler import Sampler
from app.telemetry.slots import SlotReader, parse_slots
from detectors.facts import Device, Machine
from tests.launch.engines import fake
from tests.telemetry.running import running

MACHINE = Machine("here", devices=(Device("cpu", "cpu", "a CPU", "any", "ram"),))


class Samples:
    """Collects what a sampler says and waits for what is looked for."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[Sample] = queue.SimpleQueue()
        self.seen: list[Sample] = []

    def until(self, fact: Callable[[Sample], object], limit_s: float = 10.0) -> Sample:
        deadline = time.monotonic() + limit_s
        while True:
            sample = self.queue.get(timeout=max(0.01, deadline - time.monotonic()))
            self.seen.append(sample)
            if fact(sample):
                return sample


def test_the_rates_are_those_of_the_engine(tmp_path: Path) -> None:
    samples = Samples()
    with running(tmp_path, "--token-s", 0.01, "--prefill-s", 0.8) as engine:
        sampler = Sampler(MACHINE, on_sample=samples.queue.put, interval_s=0.1)
        sampler.watch(engine.url, engine.pid)
        sampler.start()
        samples.until(lambda sample: sample.engine_reachable)
        timings = stream_chat(engine.url, "hello", max_tokens=150, on_text=lambda _: None)
        samples.until(lambda sample: sample.slots and not sample.slots[0].busy)
        sampler.stop()
    decode = [each.decode_tps for each in samples.seen if each.decode_tps is not None]
    prefill = [each.prefill_tps for each in samples.seen if each.prefill_tps is not None]
    assert timings.decode_tps is not None
    assert len(decode) >= 8
    assert sorted(decode)[len(decode) // 2] == pytest.approx(timings.decode_tps, rel=0.1)
    assert sorted(prefill)[len(prefill) // 2] == pytest.approx(100 / 0.8, rel=0.3)
    reachable = [each for each in samples.seen if each.engine_reachable]
    assert all(each.engine_rss_bytes and each.engine_rss_bytes > 1_000_000 for each in reachable)
    assert sampler.latest is samples.seen[-1] or sampler.latest.at > samples.seen[-1].at


def test_without_an_engine_only_the_machine_is_sampled() -> None:
    samples = Samples()
    sampler = Sampler(MACHINE, on_sample=samples.queue.put, interval_s=0.05)
    assert sampler.latest is EMPTY
    sampler.start()
    sampler.start()
    sample = samples.until(lambda _: True)
    sampler.stop()
    sampler.stop()
    assert (sample.decode_tps, sample.slots, sample.engine_rss_bytes, sample.engine_reachable) == (
        None,
        (),
        None,
        False,
    )
    (cpu,) = sample.devices
    assert cpu.device_id == "cpu"
    assert cpu.load is not None
    assert 0 <= cpu.load <= 1
    assert cpu.used_bytes is not None
    assert cpu.total_bytes is not None
    assert 0 < cpu.used_bytes < cpu.total_bytes
    assert not any(thread.name == "sampler" for thread in threading.enumerate())


def test_an_engine_that_dies_leaves_a_gap_and_the_next_is_watched(tmp_path: Path) -> None:
    samples = Samples()
    sampler = Sampler(None, on_sample=samples.queue.put, interval_s=0.05)
    with running(tmp_path) as first:
        sampler.watch(first.url, first.pid)
        sampler.start()
        assert samples.until(lambda sample: sample.engine_reachable).engine_rss_bytes is not None
    gone = samples.until(lambda sample: not sample.engine_reachable)
    assert (gone.slots, gone.decode_tps, gone.devices) == ((), None, ())
    assert samples.until(lambda sample: sample.engine_rss_bytes is None)
    with running(tmp_path) as second:
        sampler.watch(second.url, None)
        assert samples.until(lambda sample: sample.engine_reachable).slots
        assert sampler.engine == (second.url, None)
    sampler.stop()


def test_a_busy_engine_is_a_gap_that_neither_blocks_nor_breaks_the_run(tmp_path: Path) -> None:
    script = json.dumps([[_slot(10)], [_slot(20)], {"hang_s": 0.6, "slots": [_slot(90)]}, [_slot(100)]])
    samples = Samples()
    with running(tmp_path, "--slots", script) as engine:
        sampler = Sampler(None, on_sample=samples.queue.put, interval_s=0.1)
        sampler.watch(engine.url, None)
        sampler.start()
        samples.until(lambda sample: sample.slots and sample.slots[0].decoded_tokens == 20)
        first = len(samples.seen)
        late = samples.until(lambda sample: sample.slots and sample.slots[0].decoded_tokens == 90)
        sampler.stop()
    gaps = [each for each in samples.seen[first:] if not each.slots]
    assert len(gaps) >= 3
    assert late.decode_tps == pytest.approx(70 / 0.7, rel=0.4)  # what was made meanwhile, over the time it took
    assert all(each.decode_tps is None and each.engine_reachable for each in gaps)
    assert all(after.at - before.at < 0.3 for before, after in itertools.pairwise(gaps))


def test_an_engine_that_loads_is_not_reachable_yet(tmp_path: Path) -> None:
    with running(tmp_path, "--slots", json.dumps([503, 501, 500, "nonsense", [_slot(1)]])) as engine:
        reader = SlotReader(engine.url, timeout_s=5)
        assert (reader.read(), reader.reachable) == (None, False)
        assert (reader.read(), reader.reachable) == (None, True)  # 501: it runs with --no-slots
        assert reader.read() is None
        assert (reader.read(), reader.reachable) == (None, False)
        slots = reader.read()
        assert slots is not None
        assert (slots[0].decoded_tokens, reader.reachable) == (1, True)
        reader.close()


def test_one_connection_serves_all_readings_and_is_made_anew_when_it_breaks(tmp_path: Path) -> None:
    with running(tmp_path) as engine:
        reader = SlotReader(engine.url, timeout_s=5)
        assert reader.read()
        assert reader._connection is not None
        socket = reader._connection.sock
        assert reader.read()
        assert reader._connection.sock is socket
        socket.shutdown(2)  # as a server does with a connection that was idle for long
        assert reader.read()
        reader.close()


def test_nobody_there_is_a_gap() -> None:
    reader = SlotReader(fake().url, timeout_s=1)
    assert (reader.read(), reader.reachable, reader.is_waiting) == (None, False, False)


def test_slots_of_old_and_new_engines_are_understood() -> None:
    new = {
        "id": 3,
        "n_ctx": 32768,
        "is_processing": True,
        "id_task": 7,
        "n_prompt_tokens": 900,
        "n_prompt_tokens_processed": 512,
        "next_token": [{"n_decoded": 4}],
    }
    (slot,) = parse_slots([new])
    assert (slot.id, slot.busy, slot.task, slot.context) == (3, True, 7, 32768)
    assert (slot.prompt_tokens_done, slot.prompt_tokens, slot.decoded_tokens) == (512, 900, 4)
    (old,) = parse_slots([{"id": 0, "next_token": {"n_decoded": 9}}])
    assert (old.decoded_tokens, old.busy, old.task, old.prompt_tokens_done) == (9, False, -1, 0)
    nonsense: object
    for nonsense in ({}, [1], "x", None):
        with pytest.raises(ValueError, match="did not answer with a list"):
            parse_slots(nonsense)


def test_the_sampler_module_loads_nothing_heavy() -> None:
    code = (
        "import sys, app.telemetry.sampler, app.launch.ownership;"
        "print({'psutil', 'http.client', 'pynvml', 'asyncio'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def _slot(decoded: int) -> dict[str, Any]:
    return {"id": 0, "n_ctx": 1, "is_processing": True, "id_task": 1, "next_token": [{"n_decoded": decoded}]}
