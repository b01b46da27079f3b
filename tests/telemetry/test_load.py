"""Concurrent streams against a real llama-server, and against small servers that behave as others do."""

from __future__ import annotations

import json
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.errors import EngineFailedError, UsageError
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.telemetry.completion import Answer, Completion, RefusedError
from app.telemetry.endpoint import Endpoint
from app.telemetry.load import Burst, Load, latencies, percentile
from tests.launch.engines import wait_until
from tests.ports import free_port


@pytest.fixture(scope="module")
def server(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real llama-server with two slots of 1024 tokens."""
    folder = tmp_path_factory.mktemp("server")
    write_slice(find_spec("demo"), folder / "tiny.gguf", layers=2, experts=8, vocabulary=512)
    port = free_port()
    words = ["-m", str(folder / "tiny.gguf"), "-c", "2048", "-np", "2", "-t", "1", "-dev", "none", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(tools / "llama-server"), *words], stdout=log, stderr=log)
    try:
        wait_until(lambda: _answers(f"http://127.0.0.1:{port}/health"), 30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


Reply = Callable[[BaseHTTPRequestHandler, dict[str, object]], None]


@contextmanager
def stand_in(reply: Reply) -> Iterator[str]:
    """A server that answers as `reply` says."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply(self, json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()


def refuse(handler: BaseHTTPRequestHandler, status: int, message: str) -> None:
    body = json.dumps({"error": {"message": message}}).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def stream(handler: BaseHTTPRequestHandler, *chunks: object, done: bool = True) -> None:
    handler.send_response(200)
    handler.end_headers()
    for chunk in chunks:
        handler.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
    if done:
        handler.wfile.write(b"data: [DONE]\n\n")


def piece(text: str) -> dict[str, object]:
    return {"choices": [{"delta": {"content": text}, "finish_reason": None}]}


def test_a_real_server_is_measured_with_prompts_as_long_as_asked(server: str) -> None:
    load = Load(Endpoint.at(server).named())
    load.prepare()
    burst = load.burst(streams=2, prompt_tokens=400, generated=8)
    assert len(burst.answers) == 2
    for answer in burst.answers:
        assert answer.tokens == 8
        assert answer.prompt_tokens is not None
        assert answer.prompt_tokens + answer.cached_tokens == pytest.approx(400, rel=0.1)
        assert answer.cached_tokens < 60  # of the chat template alone
        assert answer.first_at is not None
        assert answer.sent_at < answer.first_at <= answer.last_at
    assert burst.prefill_tps
    assert burst.decode_tps
    told = latencies([burst])
    assert 0 < told["ttft_ms_p50"] <= told["ttft_ms_p95"]
    assert 0 < told["tpot_ms_p50"] <= told["tpot_ms_p95"]


def test_a_real_servers_refusal_of_a_long_prompt_is_passed_on(server: str) -> None:
    load = Load(Endpoint.at(server).named())
    load.prepare()
    with pytest.raises(RefusedError, match=r"refused: request \(\d+ tokens\) exceeds the available context size"):
        load.burst(streams=1, prompt_tokens=1500, generated=4)


def test_speeds_are_of_the_whole_burst() -> None:
    one = Answer(sent_at=0.0, first_at=1.0, last_at=3.0, tokens=21, prompt_tokens=100)
    other = Answer(sent_at=0.0, first_at=2.0, last_at=5.0, tokens=21, prompt_tokens=100, cached_tokens=50)
    burst = Burst((one, other))
    assert burst.prefill_tps == 100.0
    assert burst.decode_tps == 10.0
    assert burst.throughput_tps == 42 / 5
    assert latencies([burst]) == pytest.approx(
        {"throughput_tps": 8.4, "ttft_ms_p50": 1500, "ttft_ms_p95": 1950, "tpot_ms_p50": 125, "tpot_ms_p95": 147.5}
    )
    uncounted = Burst((Answer(0.0, 1.0, 1.0, 1, None),))
    assert (uncounted.prefill_tps, uncounted.decode_tps) == (None, None)
    nothing = Burst((Answer(0.0, None, 0.5, 0, 10),))
    assert (nothing.prefill_tps, nothing.decode_tps) == (None, None)
    assert latencies([nothing]) == {"throughput_tps": 0.0}


def test_percentiles_lie_between_neighbours() -> None:
    assert percentile([5.0], 0.95) == 5.0
    assert percentile([4.0, 1.0, 3.0, 2.0], 0.5) == 2.5
    assert percentile([1.0, 2.0], 1.0) == 2.0


def test_an_endpoint_that_knows_no_extras_is_asked_without_them() -> None:
    """As OpenAI's own does with `ignore_eos`; it counts nothing either."""

    def reply(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        if "ignore_eos" in body:
            return refuse(handler, 400, "Unrecognized request argument supplied: ignore_eos")
        return stream(handler, piece("a"), piece(""), piece("b"))

    with stand_in(reply) as url:
        load = Load(Endpoint.at(url))
        load.prepare()
        [answer] = load.burst(streams=1, prompt_tokens=8, generated=4).answers
    assert (answer.tokens, answer.prompt_tokens) == (2, None)


def test_the_key_and_the_model_are_sent_and_a_missing_key_is_named() -> None:
    seen: list[tuple[str | None, object]] = []

    def reply(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        seen.append((handler.headers["Authorization"], body.get("model")))
        if handler.headers["Authorization"]:
            return stream(handler, piece("a"))
        return refuse(handler, 401, "No key.")

    with stand_in(reply) as url:
        Completion(Endpoint.at(url, model="m", key="secret")).run("x", tokens=1)
        with pytest.raises(RefusedError, match="refused: No key") as caught:
            Completion(Endpoint.at(url)).run("x", tokens=1)
    assert seen == [("Bearer secret", "m"), (None, None)]
    assert "MOETUNE_API_KEY" in caught.value.hint


def test_an_answer_that_breaks_off_is_an_error() -> None:
    with (
        stand_in(lambda handler, body: stream(handler, piece("a"), done=False)) as url,
        pytest.raises(EngineFailedError, match="does not answer: it broke off in the middle"),
    ):
        Completion(Endpoint.at(url)).run("x", tokens=2)


def test_an_error_within_the_stream_is_a_refusal() -> None:
    with (
        stand_in(lambda handler, body: stream(handler, piece("a"), {"error": "out of memory"})) as url,
        pytest.raises(RefusedError, match="out of memory"),
    ):
        Completion(Endpoint.at(url)).run("x", tokens=2)


def test_a_request_that_hangs_can_be_cut_off() -> None:
    waiting = threading.Event()

    def reply(handler: BaseHTTPRequestHandler, body: dict[str, object]) -> None:
        waiting.set()
        time.sleep(0.5)

    with stand_in(reply) as url:
        request = Completion(Endpoint.at(url))

        def cut() -> None:
            waiting.wait(10)
            request.cut()

        threading.Thread(target=cut, daemon=True).start()
        with pytest.raises(EngineFailedError):
            request.run("x", tokens=2)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://10.0.0.2:8080", "http://10.0.0.2:8080/v1"),
        ("http://10.0.0.2:8080/v1/", "http://10.0.0.2:8080/v1"),
        ("localhost:8080", "http://localhost:8080/v1"),
        ("https://host/api/v1/chat/completions", "https://host/api/v1"),
    ],
)
def test_urls_are_taken_as_people_write_them(url: str, base: str) -> None:
    assert Endpoint.at(url).base == base


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://host:99999", "http://host:x"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is no URL of an endpoint"):
        Endpoint.at(url)
