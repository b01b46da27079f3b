"""The engine's slots, read again and again over one connection.

llama-server answers `/slots` between two batches only, so while it reads a long prompt on slow hardware an answer takes
seconds. A request that is not answered in time is therefore not given up: this reading is a gap, and a later one takes
the answer, which the engine made just before it sent it.
"""

from __future__ import annotations

import json
import select
import time
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from app.telemetry.sample import SlotSample

PATIENCE_S = 30.0
"""After so long without an answer the connection is given up and made anew."""
_BODY_TIMEOUT_S = 2.0
_TROUBLE = (OSError, HTTPException, ValueError, TypeError)  # the last two: no JSON, or not of the known form


class SlotReader:
    """Reads `/slots` of one engine; not thread-safe.

    Args:
        url: the engine.
        timeout_s: how long one reading may take.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._timeout_s = timeout_s
        self._connection: HTTPConnection | None = None
        self._asked_at: float | None = None
        self.reachable = False
        """Whether the engine answers, or at least has taken a request less than `PATIENCE_S` ago."""

    @property
    def is_waiting(self) -> bool:
        """Whether a request is on its way: the engine is busy, not gone."""
        return self._asked_at is not None

    def read(self) -> tuple[SlotSample, ...] | None:
        """The slots now; `None` if they cannot be had in time (see `is_waiting`)."""
        was_open = self._connection is not None
        try:
            try:
                return self._ask()
            except ConnectionError:  # a server may close an idle connection at any time
                self.close()
                return self._ask() if was_open else None
        except _TROUBLE:
            self.close()
            return None

    def close(self) -> None:
        """Give up the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._asked_at, self.reachable = None, None, False

    def _ask(self) -> tuple[SlotSample, ...] | None:
        if self._connection is None:
            self._connection = HTTPConnection(*self._address, timeout=self._timeout_s)
        if self._asked_at is None:
            self._connection.request("GET", "/slots")
            self._asked_at = time.monotonic()
        readable, _, _ = select.select([self._connection.sock], [], [], self._timeout_s)
        if not readable:
            if time.monotonic() - self._asked_at > PATIENCE_S:
                self.close()
            return None
        self._connection.sock.settimeout(_BODY_TIMEOUT_S)
        response = self._connection.getresponse()
        self._asked_at = None
        body = response.read()
        self.reachable = response.status != 503  # 503: it loads its model
        return parse_slots(json.loads(body)) if response.status == 200 else None


def parse_slots(answer: object) -> tuple[SlotSample, ...]:
    """The slots in an answer of `/slots`; what a version does not say counts as nothing done.

    Raises:
        ValueError: it is no list of slots.
    """
    if not isinstance(answer, list) or not all(isinstance(slot, dict) for slot in answer):
        raise ValueError("/slots did not answer with a list")
    return tuple(_slot(slot, index) for index, slot in enumerate(answer))


def _slot(slot: dict[str, Any], index: int) -> SlotSample:
    next_token = slot.get("next_token") or {}
    if isinstance(next_token, list):  # a list since there is speculative decoding
        next_token = next_token[0] if next_token else {}
    return SlotSample(
        id=int(slot.get("id", index)),
        busy=bool(slot.get("is_processing", False)),
        prompt_tokens_done=int(slot.get("n_prompt_tokens_processed") or 0),
        prompt_tokens=int(slot.get("n_prompt_tokens") or 0),
        decoded_tokens=int(next_token.get("n_decoded") or 0),
        task=int(slot.get("id_task", -1)),
        context=int(slot.get("n_ctx") or 0),
    )
