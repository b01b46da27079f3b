"""SGLang's counters and what it says of itself, read from a stand-in server that replays recorded formats.

The server is ours: SGLang needs an NVIDIA card. The formats are not: see `recorded/README.md`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.telemetry.rates import WINDOW_S
from app.telemetry.sample import Sample
from app.telemetry.sampler import Sampler
from app.telemetry.sglang import SglangMeter, SglangReader, SglangWatch
from app.telemetry.sglang_answers import SglangCounters, parse_metrics, parse_server_info

RECORDED = Path(__file__).parent / "recorded"
METRICS = (RECORDED / "metrics.txt").read_text()
INFO = (RECORDED / "server_info.json").read_text()


def metrics(*, decode: int, prefill: int = 300, running: int = 1) -> str:
    """The recorded answer with these counts."""
    text = METRICS.replace("{decode}", str(decode)).replace("{prefill}", str(prefill))
    return text.replace("{running}", str(running))


@dataclass
class StandIn:
    """A server that answers as SGLang does; each reading finds `step` tokens more."""

    url: str = ""
    decode: int = 1000
    step: int = 20
    status: int = 200
    has_metrics: bool = True
    asked: list[str] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, str]:
        self.asked.append(path)
        if self.status != 200:
            return self.status, ""
        if path == "/metrics" and self.has_metrics:
            self.decode += self.step
            return 200, metrics(decode=self.decode)
        if path == "/server_info":
            return 200, INFO
        return 404, '{"detail":"Not Found"}'


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, text = stand_in.answer(self.path)
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_ranks_of_one_model_are_counted_once() -> None:
    found = parse_metrics(metrics(decode=7557572, prefill=8128902, running=3))
    assert found == SglangCounters(7557572, 8128902, 2000, 3, 2, 0.42, 31.42)


def test_copies_of_a_model_are_added_and_priorities_are_not() -> None:
    text = "\n".join(
        f'sglang:realtime_tokens_total{{dp_rank="{rank}",mode="decode",priority="{priority}",tp_rank="0"}} {count}'
        for rank, priority, count in (("0", "", 100), ("0", "7", 40), ("1", "", 60))
    )
    found = parse_metrics(text)
    assert found is not None
    assert found.decoded_tokens == 160


@pytest.mark.parametrize("text", ["", "llamacpp:prompt_tokens_total 12", "vllm:generation_tokens_total 5", "<html>"])
def test_others_metrics_are_not_sglangs(text: str) -> None:
    assert parse_metrics(text) is None


def test_what_is_not_said_is_not_zero() -> None:
    found = parse_metrics("sglang:gen_throughput 0.0\nsglang:token_usage NaN\nsglang:num_running_reqs many")
    assert found == SglangCounters(gauge_tps=0.0)


def test_a_server_says_its_memory_and_whether_kt_kernel_takes_part() -> None:
    found = parse_server_info(json.loads(INFO))
    assert found is not None
    assert (found.weight_gib, found.cache_gib, found.cache_tokens) == (0.98, 0.23, 20480)
    assert found.last_tps == pytest.approx(160.785, abs=0.001)
    assert found.version == "0.0.0.dev1+g8b9482e66"
    assert found.settings["kt_method"] == "AMXINT8"
    assert found.uses_kt
    for name in ("kt_weight_path", "kt_num_gpu_experts"):
        without = parse_server_info({**json.loads(INFO), name: None})
        assert without is not None
        assert not without.uses_kt, f"without {name} it is silently off"
    zero = parse_server_info({**json.loads(INFO), "kt_num_gpu_experts": 0})
    assert zero is not None
    assert zero.uses_kt, "no expert on the GPU is a number too"


@pytest.mark.parametrize("answer", [None, [], {}, {"version": "1"}])
def test_other_answers_are_no_server_info(answer: object) -> None:
    assert parse_server_info(answer) is None


def test_an_empty_state_is_not_known() -> None:
    found = parse_server_info({"internal_states": []})
    assert found is not None
    assert (found.weight_gib, found.cache_tokens, found.last_tps, found.uses_kt) == (None, None, None, False)


def counters(decode: int, prefill: int = 0, running: int = 1) -> SglangCounters:
    return SglangCounters(decode, prefill, 0, running)


def test_a_rate_is_what_the_counter_grew_in_its_time() -> None:
    meter = SglangMeter()
    rates = [meter.update(0.5 * tick, counters(1000 + 15 * tick)) for tick in range(10)]
    assert [rate.decode_tps for rate in rates[:2]] == [None, None], "when it began to grow is not known"
    assert {rate.decode_tps for rate in rates[2:]} == {30.0}
    assert {rate.prefill_tps for rate in rates} == {None}


def test_slow_tokens_keep_their_rate_between_two_of_them() -> None:
    meter = SglangMeter()
    # One token in two seconds, read every half a second; the gauge of what runs is late and says 0.
    rates = [meter.update(0.5 * tick, counters(tick // 4, running=0)) for tick in range(33)]
    assert {rate.decode_tps for rate in rates[8:]} == {0.5}


def test_prompts_are_read_in_chunks() -> None:
    meter = SglangMeter()
    rates = [meter.update(float(tick), counters(0, 4096 * tick)) for tick in range(5)]
    assert rates[-1].prefill_tps == 4096.0
    assert rates[-1].decode_tps is None


def test_an_end_is_a_gap_soon_where_the_server_says_that_it_is_idle() -> None:
    busy = [(0.5 * tick, counters(10 * tick)) for tick in range(5)]
    meter = SglangMeter()
    for at, reading in busy:
        meter.update(at, reading)
    assert meter.update(2.5, counters(40, running=0)).decode_tps == 20.0, "the next pass is not overdue"
    assert meter.update(3.5, counters(40, running=0)).decode_tps is None
    meter = SglangMeter()
    for at, reading in busy:
        meter.update(at, reading)
    assert meter.update(3.5, counters(40)).decode_tps == 20.0
    assert meter.update(2.0 + WINDOW_S + 0.5, counters(40)).decode_tps is None


def test_a_server_that_was_started_again_begins_anew() -> None:
    meter = SglangMeter()
    for tick in range(4):
        meter.update(float(tick), counters(1000 + 10 * tick))
    assert meter.update(4.0, counters(5)).decode_tps is None
    assert meter.update(5.0, None).decode_tps is None
    assert meter.update(6.0, counters(25)).decode_tps is None


def test_a_reader_reads_counters_and_info_over_one_connection() -> None:
    with serving(StandIn()) as server:
        reader = SglangReader(server.url, 2.0)
        first, second, info = reader.counters(), reader.counters(), reader.info()
        reader.close()
    assert first is not None
    assert second is not None
    assert (first.decoded_tokens, second.decoded_tokens) == (1020, 1040)
    assert info is not None
    assert info.uses_kt


def test_a_server_that_loads_or_is_gone_is_not_reachable() -> None:
    with serving(StandIn(status=503)) as server:
        reader = SglangReader(server.url, 2.0)
        assert (reader.counters(), reader.info(), reader.reachable) == (None, None, False)
        server.status = 200
        assert reader.counters() is not None
        assert reader.reachable
    reader.close()
    assert (reader.counters(), reader.reachable) == (None, False)


def test_a_server_without_metrics_is_asked_once() -> None:
    with serving(StandIn(has_metrics=False)) as server:
        watch = SglangWatch(server.url, 2.0)
        for _ in range(3):
            assert watch.rates().decode_tps is None
        watch.close()
    assert server.asked == ["/metrics"]


def test_the_sampler_follows_a_server_that_has_counters_in_place_of_slots() -> None:
    seen: list[Sample] = []
    told = threading.Event()

    def take(sample: Sample) -> None:
        seen.append(sample)
        if sample.decode_tps is not None:
            told.set()

    with serving(StandIn()) as server:
        sampler = Sampler(None, on_sample=take, interval_s=0.05)
        sampler.watch(server.url, None)
        sampler.start()
        assert told.wait(10)
        sampler.stop()
    rate = next(sample.decode_tps for sample in seen if sample.decode_tps is not None)
    assert rate is not None
    assert rate > 0
    assert seen[-1].engine_reachable
    assert seen[-1].slots == ()
