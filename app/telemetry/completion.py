"""One streamed answer of any OpenAI-compatible endpoint, with the times at which its client saw its tokens."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from app.errors import EngineFailedError
from app.telemetry.client import STALL_TIMEOUT_S
from app.telemetry.endpoint import KEY_VARIABLE, Endpoint, unreachable


class RefusedError(EngineFailedError):
    """The endpoint answered that it will not do what was asked."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request. Times are monotonic seconds."""

    sent_at: float
    first_at: float | None
    """When the first token came; `None`: none came."""
    last_at: float
    tokens: int
    """Generated: as the endpoint counted them, else the pieces that came."""
    prompt_tokens: int | None
    """That were computed, those of its cache left out; `None` where the endpoint does not count."""
    cached_tokens: int = 0


class Completion:
    """One request that another thread may cut off."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._connection = endpoint.connection()
        self._cut = threading.Event()

    def run(self, prompt: str, *, tokens: int) -> Answer:
        """Generate that many tokens.

        Raises:
            RefusedError: the endpoint refuses, with its reason.
            EngineFailedError: it does not answer, or breaks off.
        """
        try:
            response, sent_at = self._send(prompt, tokens)
            return _read(response, sent_at)
        except (OSError, HTTPException, ValueError) as error:
            raise unreachable(self._endpoint, error) from error
        finally:
            self._connection.close()

    def cut(self) -> None:
        """End it from another thread."""
        self._cut.set()
        peer = self._connection.sock
        if peer is not None:
            try:
                peer.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _send(self, prompt: str, tokens: int) -> tuple[HTTPResponse, float]:
        body: dict[str, object] = {
            "messages": [{"role": "user", "content": prompt}], "stream": True, "max_tokens": tokens, "temperature": 0.8,
        }  # fmt: skip
        offered: Mapping[str, object] = {"ignore_eos": True, "stream_options": {"include_usage": True}}
        body |= {name: offered[name] for name in self._endpoint.extras}
        if self._endpoint.model:
            body["model"] = self._endpoint.model
        self._connection.connect()
        if self._cut.is_set():
            raise OSError("it was cut off")
        assert self._connection.sock is not None
        self._connection.sock.settimeout(STALL_TIMEOUT_S)
        sent_at = time.monotonic()
        path = urlsplit(self._endpoint.base).path
        self._connection.request("POST", f"{path}/chat/completions", json.dumps(body), self._endpoint.headers())
        response = self._connection.getresponse()
        if response.status != 200:
            raise RefusedError(
                f"The endpoint {self._endpoint.base} refused: {_reason(response)}.",
                hint=f"A key goes into {KEY_VARIABLE}." if response.status in (401, 403) else "",
            )
        return response, sent_at


def _reason(response: HTTPResponse) -> str:
    body = response.read()
    try:
        found = json.loads(body)
        error = found.get("error", found)
        text = str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, AttributeError):
        text = f"HTTP {response.status} {response.reason}"
    return text.strip().rstrip(".")


def _read(response: HTTPResponse, sent_at: float) -> Answer:
    first_at: float | None = None
    last_at, pieces, complete = sent_at, 0, False
    usage: dict[str, Any] = {}
    for line in response:
        field, _, data = line.decode("utf-8", "replace").strip().partition(":")
        if field != "data":
            continue
        if data.strip() == "[DONE]":
            complete = True
            break
        chunk = json.loads(data)
        if "error" in chunk:
            raise RefusedError(f"The endpoint broke off: {chunk['error']}.")
        if _has_text(chunk):
            last_at, pieces = time.monotonic(), pieces + 1
            first_at = last_at if first_at is None else first_at
        complete = complete or any(choice.get("finish_reason") for choice in chunk.get("choices") or ())
        usage = chunk.get("usage") or usage
    if not complete:
        raise OSError("it broke off in the middle of an answer")
    cached = int((usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0)
    prompt = usage.get("prompt_tokens")
    computed = None if prompt is None else int(prompt) - cached
    return Answer(sent_at, first_at, last_at, int(usage.get("completion_tokens") or pieces), computed, cached)


def _has_text(chunk: dict[str, Any]) -> bool:
    deltas = [choice.get("delta") or {} for choice in chunk.get("choices") or ()]
    return any(delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") for delta in deltas)
