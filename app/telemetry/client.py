"""Asks an engine to generate, over its OpenAI-compatible endpoint, and hands on the text as it comes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from app.errors import EngineFailedError
from app.telemetry.sample import Timings

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

STALL_TIMEOUT_S = 600.0
"""A long prompt on slow hardware yields nothing for minutes."""
_CANCEL_POLL_S = 0.05
_PATH = "/v1/chat/completions"
_MAIN = {"prompt_n", "prompt_ms", "predicted_n", "predicted_ms"}


def stream_chat(
    url: str,
    prompt: str,
    *,
    max_tokens: int = 512,
    ignore_eos: bool = False,
    temperature: float = 0.8,
    seed: int | None = None,
    on_text: Callable[[str], None],
    cancelled: threading.Event | None = None,
) -> Timings:
    """Generate an answer to `prompt`. Blocks until it is complete or cancelled.

    Args:
        url: the engine.
        prompt: what the user says.
        max_tokens: how long the answer may be.
        ignore_eos: go on to `max_tokens` even where the model would stop.
        temperature: of the sampling.
        seed: of the sampling; `None`: the engine chooses.
        on_text: called with each piece of the answer, reasoning included.
        cancelled: when set, the connection is closed, which makes the engine stop.

    Returns:
        What the engine measured; of a cancelled request, what it had told until then.

    Raises:
        EngineFailedError: it is not there, refuses, or breaks off.
    """
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": prompt}],
        "stream": True,
        "timings_per_token": True,
        "max_tokens": max_tokens,
        "ignore_eos": ignore_eos,
        "temperature": temperature,
    }
    if seed is not None:
        body["seed"] = seed
    return _Exchange(url, on_text, cancelled).run(body)


class _Exchange:
    """One request and its streamed answer."""

    def __init__(self, url: str, on_text: Callable[[str], None], cancelled: threading.Event | None) -> None:
        from http.client import HTTPConnection

        parts = urlsplit(url)
        self._url = url
        self._connection: HTTPConnection = HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=STALL_TIMEOUT_S
        )
        self._on_text = on_text
        self._cancelled = cancelled or threading.Event()
        self._finished = threading.Event()
        self._timings: dict[str, Any] = {}
        self._complete = False

    def run(self, body: dict[str, object]) -> Timings:
        from http.client import HTTPException

        began = time.monotonic()
        ttft_ms: float | None = None
        try:
            response = self._send(body)
            for text in self._texts(response):
                if ttft_ms is None:
                    ttft_ms = 1000 * (time.monotonic() - began)
                if text:
                    self._on_text(text)
        except (OSError, HTTPException, ValueError) as error:
            if not self._cancelled.is_set():
                raise EngineFailedError(
                    f"The engine at {self._url} does not answer as it should: {error}.",
                    hint="See its log; it may have crashed.",
                ) from error
        finally:
            self._finished.set()
            self._connection.close()
        if not self._complete and not self._cancelled.is_set():
            raise EngineFailedError(
                f"The engine at {self._url} broke off in the middle of an answer.",
                hint="See its log; it may have crashed.",
            )
        return _timings(self._timings, ttft_ms)

    def _send(self, body: dict[str, object]) -> HTTPResponse:
        self._connection.connect()
        threading.Thread(target=self._cut_when_cancelled, name="chat-cancel", daemon=True).start()
        self._connection.request("POST", _PATH, json.dumps(body), {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        if response.status != 200:
            raise _refused(_error_text(response.read()) or f"HTTP {response.status} {response.reason}")
        return response

    def _texts(self, response: HTTPResponse) -> Iterator[str]:
        """The pieces of the answer from the first token on, as they come; an empty piece is a token without text."""
        for line in response:
            if self._cancelled.is_set():
                return
            field, _, data = line.decode("utf-8", "replace").strip().partition(":")
            data = data.strip()
            if field == "error":
                raise _refused(_error_text(data.encode()) or data)
            if field != "data":
                continue
            if data == "[DONE]":
                self._complete = True
                return
            chunk = json.loads(data)
            text = self._take(chunk) if isinstance(chunk, dict) else ""
            if text or self._timings.get("predicted_n"):
                yield text

    def _take(self, chunk: dict[str, Any]) -> str:
        if "error" in chunk:
            raise _refused(_error_text(json.dumps(chunk).encode()))
        if isinstance(chunk.get("timings"), dict):
            self._timings = chunk["timings"]
        text = ""
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text += (delta.get("reasoning_content") or "") + (delta.get("content") or "")
            self._complete = self._complete or bool(choice.get("finish_reason"))
        return text

    def _cut_when_cancelled(self) -> None:
        """Closing the socket from here ends a read that waits for a token that may take minutes."""
        import socket

        peer = self._connection.sock
        while not self._finished.wait(_CANCEL_POLL_S):
            if self._cancelled.is_set():
                try:
                    peer.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return
                return


def _refused(reason: str) -> EngineFailedError:
    return EngineFailedError(f"The engine refused the request: {reason.rstrip('.')}.", hint="See its log.")


def _error_text(body: bytes) -> str:
    try:
        answer = json.loads(body)
        error = answer.get("error", answer)
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, AttributeError):
        return body.decode("utf-8", "replace")[:200].strip()


def _timings(raw: dict[str, Any], ttft_ms: float | None) -> Timings:
    return Timings(
        prompt_tokens=int(raw.get("prompt_n") or 0),
        prompt_ms=float(raw.get("prompt_ms") or 0.0),
        predicted_tokens=int(raw.get("predicted_n") or 0),
        predicted_ms=float(raw.get("predicted_ms") or 0.0),
        ttft_ms=ttft_ms,
        extra={
            key: float(value)
            for key, value in raw.items()
            if key not in _MAIN and isinstance(value, int | float) and not isinstance(value, bool)
        },
    )
