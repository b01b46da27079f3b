"""An OpenAI-compatible endpoint of any engine: where it is, and how it is asked."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from app.errors import EngineFailedError, UsageError

CONNECT_TIMEOUT_S = 10.0
KEY_VARIABLE = "MOETUNE_API_KEY"
"""Environment variable with the key of an endpoint that wants one."""
_EXTRAS = ("ignore_eos", "stream_options")
"""What OpenAI's own form does not have, or not every engine: left out for one that refuses them."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and how.

    Args:
        base: such as `http://127.0.0.1:8080/v1`.
        model: the name that requests carry.
        extras: what this endpoint takes beyond OpenAI's own form.
    """

    base: str
    model: str = ""
    key: str = ""
    extras: tuple[str, ...] = _EXTRAS

    @classmethod
    def at(cls, url: str, *, model: str = "", key: str = "") -> Endpoint:
        """The endpoint behind a URL as people write it, with or without `/v1`.

        Raises:
            UsageError: it is none.
        """
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            fits = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            fits = False
        if not fits:
            raise UsageError(f"{url!r} is no URL of an endpoint.", hint="Write it like http://127.0.0.1:8080")
        path = parts.path.rstrip("/").removesuffix("/chat/completions")
        return cls(f"{parts.scheme}://{parts.netloc}{path if path.endswith('/v1') else f'{path}/v1'}", model, key)

    @property
    def host(self) -> str:
        """Name or address of the machine that answers."""
        return urlsplit(self.base).hostname or ""

    def connection(self) -> HTTPConnection:
        """A connection that is not yet open."""
        parts = urlsplit(self.base)
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return kind(parts.hostname or "", parts.port, timeout=CONNECT_TIMEOUT_S)

    def get(self, path: str) -> object:
        """A JSON document below the server's root; `None` where it has none there.

        Raises:
            EngineFailedError: nobody answers.
        """
        connection = self.connection()
        try:
            connection.request("GET", path, headers=self.headers())
            response = connection.getresponse()
            body = response.read()
            return json.loads(body) if response.status == 200 else None
        except ValueError:
            return None
        except (OSError, HTTPException) as error:
            raise unreachable(self, error) from error
        finally:
            connection.close()

    def headers(self) -> dict[str, str]:
        """Of every request."""
        return {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def named(self) -> Endpoint:
        """With the first model that it lists, where none was named.

        Raises:
            EngineFailedError: nobody answers.
        """
        path = urlsplit(self.base).path
        listed: Any = self.get(f"{path}/models")
        try:
            first = str(listed["data"][0]["id"]) if listed else ""
        except (KeyError, IndexError, TypeError):
            first = ""
        return replace(self, model=self.model or first)

    def without_extras(self) -> Endpoint:
        """For an endpoint that refuses them."""
        return replace(self, extras=())


def unreachable(endpoint: Endpoint, error: Exception) -> EngineFailedError:
    """Nobody is there, or the connection broke."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return EngineFailedError(
        f"The endpoint {endpoint.base} does not answer: {reason}.", hint="Is the engine running, and is the port right?"
    )
