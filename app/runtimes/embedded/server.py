"""The HTTP side of the engine process."""

from __future__ import annotations

import json
import select
import socket
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty
from urllib.parse import parse_qs, urlsplit

from app.runtimes.embedded import replies, status
from app.runtimes.embedded.generation import Done, Event, Failed, Generator, Piece, Task
from app.runtimes.embedded.options import Options
from app.runtimes.embedded.replies import Reply
from app.runtimes.embedded.requests import PATHS, BadRequestError, Request, read
from app.runtimes.embedded.vocabulary import Vocabulary

_BODY_LIMIT_BYTES = 64 * 1024**2
_LOOK_AT_CLIENT_S = 0.25
"""How often a request that waits for its turn or its prompt looks whether its client is still there."""


@dataclass(slots=True)
class Service:
    """What the handlers share with the engine thread."""

    options: Options
    generator: Generator | None = None
    """`None` while the model loads."""
    vocabulary: Vocabulary | None = None
    progress: float = 0.0
    """Share of the model that is loaded."""
    metrics: status.Metrics = field(default_factory=status.Metrics)


class EngineServer(ThreadingHTTPServer):
    """Listens as soon as it is made; answers 503 until the service has a generator.

    Raises:
        OSError: the address cannot be had.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, service: Service) -> None:
        self.service = service
        host = service.options.host
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, service.options.port), Handler)

    def server_bind(self) -> None:
        """Bind without http.server's reverse DNS look-up, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a client that hangs up go quietly; anything else is a bug and gets its traceback."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed through

    @property
    def url(self) -> str:
        """Where it listens."""
        host = f"[{self.server_name}]" if ":" in self.server_name else self.server_name
        return f"http://{host}:{self.server_port}"


class ClientGoneError(Exception):
    """The client closed its connection before its answer was complete."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "moetune-embedded"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = 60
    server: EngineServer

    def do_GET(self) -> None:
        """Status pages."""
        path, service = urlsplit(self.path), self.server.service
        generator, vocabulary = service.generator, service.vocabulary
        if generator is None or vocabulary is None:
            return self._loading()
        match path.path:
            case "/health" | "/v1/health":
                return self._json(200, {"status": "ok"})
            case "/props":
                return self._json(200, status.properties(service.options, generator, vocabulary))
            case "/slots":
                if "fail_on_no_slot" in parse_qs(path.query) and generator.current is not None:
                    return self._error(503, "no slot is free", "unavailable_error")
                return self._json(200, status.slots(generator))
            case "/v1/models" | "/models":
                return self._json(200, status.models(service.options, generator, vocabulary))
            case "/metrics":
                text = service.metrics.text(generator).encode()
                return self._send(200, text, "text/plain; version=0.0.4")
        return self._error(404, f"there is no {path.path} here", "not_found_error")

    def do_POST(self) -> None:
        """Completions."""
        body = self._body()
        if body is None:
            return None
        generator, vocabulary = self.server.service.generator, self.server.service.vocabulary
        dialect = PATHS.get(urlsplit(self.path).path)
        if generator is None or vocabulary is None:
            return self._loading()
        if dialect is None:
            return self._error(404, f"there is no {urlsplit(self.path).path} here", "not_found_error")
        try:
            request = read(dialect, body, vocabulary, generator.context_tokens)
        except BadRequestError as error:
            return self._error(400, str(error), error.kind, **error.facts)
        task = generator.submit(request.task)
        try:
            answer = self._stream if request.stream else self._answer
            answer(request, Reply(request, self.server.service.options.alias))
        except (ClientGoneError, OSError):
            self.close_connection = True
        finally:
            task.cancelled = True
        return None

    def _answer(self, request: Request, reply: Reply) -> None:
        text: list[str] = []
        while True:
            match self._next_event(request.task):
                case Piece(text=str(fresh)):
                    text.append(fresh)
                case Done() as done:
                    text.append(done.text)
                    return self._json(200, reply.whole("".join(text), done))
                case Failed(message):
                    return self._error(500, message, "server_error")

    def _stream(self, request: Request, reply: Reply) -> None:
        event = self._next_event(request.task)
        if isinstance(event, Failed):
            return self._error(500, event.message, "server_error")
        self._start_stream()
        while True:
            match event:
                case Piece():
                    self._push(*reply.chunks(event))
                case Done():
                    self._push(*reply.last_chunks(event))
                    break
                case Failed(message):
                    self._push(replies.error(500, message, "server_error"))
                    break
            event = self._next_event(request.task)
        self._end_stream(with_mark=request.dialect != "completion")
        return None

    def _next_event(self, task: Task) -> Event:
        poller = select.poll()
        poller.register(self.connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        while True:
            if poller.poll(0):
                raise ClientGoneError
            try:
                return task.events.get(timeout=_LOOK_AT_CLIENT_S)
            except Empty:
                continue

    def _start_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        if self.request_version == "HTTP/1.0":
            self.close_connection = True
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _push(self, *objects: replies.Json) -> None:
        if objects:
            self._write_chunk(b"".join(b"data: " + _encode(value) + b"\n\n" for value in objects))

    def _end_stream(self, *, with_mark: bool) -> None:
        if with_mark:
            self._write_chunk(b"data: [DONE]\n\n")
        if self.request_version != "HTTP/1.0":
            self.wfile.write(b"0\r\n\r\n")

    def _write_chunk(self, data: bytes) -> None:
        whole = data if self.request_version == "HTTP/1.0" else b"%x\r\n%s\r\n" % (len(data), data)
        self.wfile.write(whole)

    def _body(self) -> bytes | None:
        """The request's body; `None` after an error was sent, and then the connection ends."""
        try:
            size = int(self.headers.get("Content-Length", ""))
        except ValueError:
            size = -1
        if 0 <= size <= _BODY_LIMIT_BYTES:
            data = self.rfile.read(size)
            if len(data) == size:
                return data
        self.close_connection = True
        if size > _BODY_LIMIT_BYTES:
            self._error(413, f"the body is larger than {_BODY_LIMIT_BYTES} bytes", "invalid_request_error")
        elif size < 0:
            self._error(411, "the request needs a Content-Length", "invalid_request_error")
        return None

    def _loading(self) -> None:
        facts = {"progress": round(self.server.service.progress, 3)}
        self._error(503, "Loading model", "unavailable_error", **facts)

    def _error(self, code: int, message: str, kind: str, **facts: object) -> None:
        self._json(code, replies.error(code, message, kind, **facts))

    def _json(self, code: int, value: object) -> None:
        self._send(code, _encode(value), "application/json; charset=utf-8")

    def _send(self, code: int, data: bytes, content_type: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """http.server's own complaints (bad request line, unknown method), as JSON instead of HTML."""
        self.close_connection = True
        self._error(code, message or explain or "bad request", "invalid_request_error")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the log is llama.cpp's, and a status poll twice a second would fill it."""


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
