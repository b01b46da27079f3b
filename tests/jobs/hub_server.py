"""A local server that speaks as much of the Hugging Face Hub's protocol as a download needs. Not the real hub."""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it holds and how it behaves; tests change it while it runs."""

    files: dict[tuple[str, str], bytes]
    """(repository, name) -> content."""
    ranges: list[str | None] = field(default_factory=list)
    """The Range header of every GET of a file."""
    cut_after: int | None = None
    """Bytes after which the connection of the next GET breaks, once."""
    lies: bool = False
    """Whether what it sends is not what its listing states."""
    bytes_per_s: float | None = None
    status: int | None = None
    """What every request is answered with, in place of an answer."""
    small: frozenset[str] = frozenset()
    """Names that lie in Git itself: no LFS hash."""
    url: str = ""


def serve(hub: Hub) -> ThreadingHTTPServer:
    """Start it on a free port; the caller shuts it down."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            if hub.status:
                self._send(hub.status, b"{}", body=body)
            elif found := re.match(r"/api/models/([^/]+/[^/]+)(/revision/[^?]+)?", self.path):
                self._listing(found[1])
            elif found := re.match(r"/([^/]+/[^/]+)/resolve/([^/]+)/([^?]+)", self.path):
                self._file(found[1], found[3], body=body)
            else:
                self._send(404, b"{}", body=body)

        def _listing(self, repository: str) -> None:
            files = {name: data for (owner, name), data in hub.files.items() if owner == repository}
            if not files:
                self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
                return
            siblings = []
            for name, data in files.items():
                one: dict[str, object] = {"rfilename": name, "size": len(data)}
                one["blobId"] = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
                if name not in hub.small:
                    one["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
                siblings.append(one)
            document = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

        def _file(self, repository: str, name: str, *, body: bool) -> None:
            data = hub.files.get((repository, name))
            if data is None:
                self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
                return
            if hub.lies:
                data = bytes(len(data))
            asked, start = self.headers.get("Range"), 0
            if body:
                hub.ranges.append(asked)
            if asked:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(data) - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.end_headers()
            if body:
                self._stream(data[start:])

        def _stream(self, data: bytes) -> None:
            cut, hub.cut_after = hub.cut_after, None
            sent = 0
            while sent < len(data):
                piece = data[sent : sent + 65536]
                if cut is not None and sent + len(piece) > cut:
                    self.wfile.write(piece[: cut - sent])
                    self.close_connection = True
                    return
                try:
                    self.wfile.write(piece)
                except OSError:
                    return
                sent += len(piece)
                if hub.bytes_per_s:
                    time.sleep(len(piece) / hub.bytes_per_s)

        def _send(self, code: int, data: bytes, headers: dict[str, str] | None = None, *, body: bool = True) -> None:
            self.send_response(code)
            for header, value in (headers or {}).items():
                self.send_header(header, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
