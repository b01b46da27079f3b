"""Requests that cannot be served: one clear sentence, and the engine lives on."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from .conftest import CONTEXT
from .engine_process import EngineProcess


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/completion", b"{nope", "not valid JSON"),
        ("/completion", b"\xff\xfe", "not valid JSON"),
        ("/completion", b"[" * 100_000, "not valid JSON"),
        ("/completion", [1], "JSON object"),
        ("/completion", {}, '"prompt"'),
        ("/completion", {"prompt": 7}, '"prompt"'),
        ("/completion", {"prompt": [1, True]}, '"prompt"'),
        ("/completion", {"prompt": [512]}, "between 0 and 511"),
        ("/completion", {"prompt": []}, "empty"),
        ("/completion", {"prompt": "a", "n_predict": "many"}, '"n_predict"'),
        ("/completion", {"prompt": "a", "n_predict": 1.5}, '"n_predict"'),
        ("/completion", {"prompt": "a", "temperature": float("nan")}, '"temperature"'),
        ("/completion", {"prompt": "a", "seed": 10**400}, '"seed"'),
        ("/completion", {"prompt": "a", "stream": "yes"}, '"stream"'),
        ("/completion", {"prompt": "a", "stop": [1]}, '"stop"'),
        ("/v1/chat/completions", {"messages": []}, '"messages"'),
        ("/v1/chat/completions", {"messages": ["hi"]}, '"role"'),
        ("/v1/chat/completions", {"messages": [{"role": "user"}]}, '"content"'),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "images"),
    ],
)
def test_bad_request_is_400(engine: EngineProcess, path: str, body: object, words: str) -> None:
    status, answer = engine.request("POST", path, body)
    assert status == 400
    assert words in answer["error"]["message"]
    assert engine.get("/health") == {"status": "ok"}


def test_prompt_longer_than_the_context_is_400(engine: EngineProcess) -> None:
    status, answer = engine.request("POST", "/completion", {"prompt": [300] * CONTEXT})
    assert status == 400
    assert answer["error"]["type"] == "exceed_context_size_error"
    assert (answer["error"]["n_prompt_tokens"], answer["error"]["n_ctx"]) == (CONTEXT, CONTEXT)


@pytest.mark.parametrize(("method", "status"), [("GET", 404), ("POST", 404), ("PUT", 501)])
def test_unknown_path_or_method(engine: EngineProcess, method: str, status: int) -> None:
    code, answer = engine.request(method, "/nowhere", b"{}")
    assert code == status
    assert answer["error"]["code"] == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /completion HTTP/1.1\r\nHost: x\r\n\r\n", b"411"),
        (b"POST /completion HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_malformed_http_is_refused(engine: EngineProcess, head: bytes, status: bytes) -> None:
    parts = urlsplit(engine.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as raw:
        raw.sendall(head)
        answer = raw.makefile("rb").read()
    assert status in answer.split(b"\r\n")[0] or b'"code":' + status in answer


def test_invalid_surrogates_do_no_harm(engine: EngineProcess) -> None:
    status, _ = engine.request("POST", "/completion", b'{"prompt": "\\ud800 \\u0000 x", "n_predict": 2}')
    assert status == 200
