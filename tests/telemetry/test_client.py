"""The client against a real engine process."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path

import pytest

from app.errors import EngineFailedError
from app.telemetry.client import stream_chat
from tests.launch.engines import fake, wait_until
from tests.telemetry.running import running


def test_the_text_comes_piece_by_piece_with_the_engines_timings(tmp_path: Path) -> None:
    pieces: list[tuple[float, str]] = []
    with running(tmp_path, "--prefill-s", 0.3, "--token-s", 0.02) as engine:
        began = time.monotonic()
        timings = stream_chat(
            engine.url,
            "say wörds",
            max_tokens=20,
            ignore_eos=True,
            temperature=0.0,
            seed=7,
            on_text=lambda text: pieces.append((time.monotonic() - began, text)),
        )
        request = json.loads(engine.log.read_text().split("request ", 1)[1])
    assert "".join(text for _, text in pieces) == "".join(f"w{number} " for number in range(1, 21))
    assert pieces[-1][0] - pieces[0][0] > 0.2
    assert (timings.prompt_tokens, timings.prompt_ms, timings.predicted_tokens) == (100, 300, 20)
    assert timings.decode_tps == pytest.approx(50)
    assert timings.ttft_ms is not None
    assert 300 <= timings.ttft_ms <= 1000 * pieces[0][0] + 1
    assert timings.extra == {"cache_n": 0.0}
    assert request["messages"] == [{"role": "user", "content": "say wörds"}]
    assert (request["stream"], request["timings_per_token"], request["ignore_eos"]) == (True, True, True)
    assert (request["max_tokens"], request["temperature"], request["seed"]) == (20, 0.0, 7)


def test_cancelling_stops_the_engine_and_keeps_what_it_told(tmp_path: Path) -> None:
    cancelled = threading.Event()
    pieces: list[str] = []

    def take(text: str) -> None:
        pieces.append(text)
        if len(pieces) == 5:
            cancelled.set()

    with running(tmp_path, "--token-s", 0.02) as engine:
        timings = stream_chat(engine.url, "x", max_tokens=5000, on_text=take, cancelled=cancelled)
        wait_until(lambda: "client gone" in engine.log.read_text())
    assert 5 <= timings.predicted_tokens < 20


def test_cancelling_does_not_wait_for_the_first_token(tmp_path: Path) -> None:
    cancelled = threading.Event()
    with running(tmp_path, "--prefill-s", 60) as engine:
        timer = threading.Timer(0.2, cancelled.set)
        timer.start()
        began = time.monotonic()
        timings = stream_chat(engine.url, "x", on_text=lambda _: None, cancelled=cancelled)
        assert time.monotonic() - began < 5
    assert (timings.predicted_tokens, timings.ttft_ms) == (0, None)


def test_a_refusal_says_what_the_engine_said(tmp_path: Path) -> None:
    with running(tmp_path, "--fail-chat", 400) as engine, pytest.raises(EngineFailedError, match="the fake refuses"):
        stream_chat(engine.url, "x", on_text=lambda _: None)


def test_an_answer_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    pieces: list[str] = []
    with (
        running(tmp_path, "--cut-after", 3) as engine,
        pytest.raises(EngineFailedError, match="broke off in the middle"),
    ):
        stream_chat(engine.url, "x", on_text=pieces.append)
    assert len(pieces) == 3


def test_an_engine_that_dies_under_the_request_is_an_error(tmp_path: Path) -> None:
    with running(tmp_path, "--token-s", 0.01) as engine, pytest.raises(EngineFailedError):
        stream_chat(engine.url, "x", max_tokens=5000, on_text=lambda _: engine.process.kill())


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(EngineFailedError, match="Connection refused"):
        stream_chat(fake().url, "x", on_text=lambda _: None)


@pytest.mark.parametrize(
    ("lines", "text", "fault"),
    [
        (['data: {"choices":[{"delta":{"reasoning_content":"hm "}}]}', "data: [DONE]"], "hm ", None),
        ([": a comment", "data:[1]", 'data: {"choices":[]}', "data: [DONE]"], "", None),
        (['data: {"error":{"message":"context is full"}}'], "", "context is full"),
        (['error: {"message":"context is full"}'], "", "context is full"),
        (["data: {"], "", "does not answer as it should"),
    ],
)
def test_each_form_of_line_is_understood(lines: list[str], text: str, fault: str | None) -> None:
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    answer = head + "\n\n".join(lines) + "\n\n"
    pieces: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_answer_once, args=(server, answer.encode()))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if fault is None:
            stream_chat(url, "x", on_text=pieces.append)
        else:
            with pytest.raises(EngineFailedError, match=fault):
                stream_chat(url, "x", on_text=pieces.append)
        thread.join()
    assert "".join(pieces) == text


def _answer_once(server: socket.socket, answer: bytes) -> None:
    peer, _ = server.accept()
    with peer:
        request = b""
        while not request.endswith(b"}"):
            request += peer.recv(65536)
        peer.sendall(answer)
