"""A real engine process and a small client for it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[3]
LIMIT_S = 30.0
"""Far more than anything here takes: a test that waits this long has failed."""


class EngineProcess:
    """The engine with its stderr read line by line."""

    def __init__(
        self, *arguments: str, argv: tuple[str, ...] = (), env: Mapping[str, str] | None = None, cwd: Path = ROOT
    ) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.process = subprocess.Popen(
            argv or (sys.executable, "-m", "app.runtimes.embedded", *arguments),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env=env,
            cwd=cwd,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def line_with(self, text: str) -> str:
        """Wait for a line on stderr."""

        def found() -> str | None:
            return next((line for line in self.lines if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, LIMIT_S)
            line = found()
        assert line is not None, f"no line with {text!r} in {self.lines[-5:]}"
        return line

    @property
    def url(self) -> str:
        return self.line_with("listening on").split()[-1]

    def ready(self) -> EngineProcess:
        self.line_with("model loaded")
        return self

    def exit_code(self) -> int:
        code = self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        return code

    def last_line(self) -> str:
        self.exit_code()
        return self.lines[-1]

    def kill(self) -> None:
        self.process.kill()
        self.exit_code()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=LIMIT_S)

    def request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and decoded JSON; `body` as it is where it is bytes."""
        connection = self.connection()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, json.loads(answer)

    def get(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, **fields: object) -> Any:  # noqa: ANN401 (JSON)
        status, answer = self.request("POST", path, fields)
        assert status == 200, answer
        return answer

    def slot(self) -> Any:  # noqa: ANN401 (JSON)
        (slot,) = self.get("/slots")
        return slot

    def metric(self, name: str) -> float:
        connection = self.connection()
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        (line,) = (line for line in text.splitlines() if line.startswith(f"llamacpp:{name} "))
        return float(line.split()[1])


class Stream:
    """An answer that is read while it is made."""

    def __init__(self, engine: EngineProcess, path: str, **fields: object) -> None:
        self._connection = engine.connection()
        self._connection.request("POST", path, json.dumps(fields | {"stream": True}).encode())
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        assert self._response.getheader("Content-Type") == "text/event-stream"

    def __iter__(self) -> Iterator[Any]:
        """The objects; `[DONE]` as that text."""
        for line in self._response:
            if line.startswith(b"data: "):
                data = line[6:].strip()
                yield "[DONE]" if data == b"[DONE]" else json.loads(data)

    def hang_up(self) -> None:
        self._response.close()
        self._connection.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """For what only polling can tell."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)
