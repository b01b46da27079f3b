"""An engine that computes nothing: a real process with llama-server's HTTP face and every bad habit of engines.

Run as a script; see `--help`. `/slots` follows the request that runs, or a script of answers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PROMPT_TOKENS = 100


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready-after", type=float, default=0.0)
    parser.add_argument("--never-ready", action="store_true")
    parser.add_argument("--chatty-bytes", type=int, default=0, help="written to stderr before it listens")
    parser.add_argument("--say", action="append", default=[], help="a line for stderr")
    parser.add_argument("--say-hex", default="", help="raw bytes for stderr, as hex")
    parser.add_argument("--ignore-term", action="store_true")
    parser.add_argument("--die-at-start", action="store_true")
    parser.add_argument("--die-code", type=int, default=1, help="for --die-at-start and GET /die")
    parser.add_argument("--grandchild", help="start one that ignores SIGTERM, and write its pid to this file")
    parser.add_argument(
        "--slots", help="JSON list of answers to /slots: a list, a status, or {hang_s: 1, slots: [...]}"
    )
    parser.add_argument("--token-s", type=float, default=0.01)
    parser.add_argument("--prefill-s", type=float, default=0.0)
    parser.add_argument("--fail-chat", type=int, help="answer a chat with this status")
    parser.add_argument("--cut-after", type=int, help="close the connection after so many tokens")
    return parser.parse_args()


ARGS = options()
STARTED = time.monotonic()
SCRIPT: list[Any] | None = json.loads(ARGS.slots) if ARGS.slots else None
SLOT: dict[str, Any] = {
    "id": 0,
    "id_task": -1,
    "n_ctx": 4096,
    "is_processing": False,
    "n_prompt_tokens": 0,
    "n_prompt_tokens_processed": 0,
    "next_token": [{"n_decoded": 0}],
}
LOCK = threading.Lock()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return

    def answer(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        if self.path == "/health":
            ready = not ARGS.never_ready and time.monotonic() - STARTED >= ARGS.ready_after
            self.answer(200 if ready else 503, {"status": "ok" if ready else "loading"})
        elif self.path == "/slots":
            self.slots()
        elif self.path == "/env":
            self.answer(200, dict(os.environ))
        elif self.path == "/die":
            os._exit(ARGS.die_code)
        else:
            self.answer(404, {})

    def slots(self) -> None:
        if SCRIPT is None:
            self.answer(200, [SLOT])
            return
        with LOCK:
            step = SCRIPT.pop(0) if len(SCRIPT) > 1 else SCRIPT[0]
        if isinstance(step, dict):
            time.sleep(step["hang_s"])
            step = step["slots"]
        self.answer(*((step, {}) if isinstance(step, int) else (200, step)))

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        say(f"request {json.dumps(request)}")
        if ARGS.fail_chat:
            self.answer(ARGS.fail_chat, {"error": {"message": "the fake refuses", "code": ARGS.fail_chat}})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.generate(request["max_tokens"])
        except OSError:
            say("client gone")
        SLOT["is_processing"] = False

    def chunk(self, text: str | None, made: int, spent_s: float, finish: str | None = None) -> None:
        delta = {} if text is None else {"content": text}
        timings = {
            "cache_n": 0,
            "prompt_n": PROMPT_TOKENS,
            "prompt_ms": 1000 * ARGS.prefill_s,
            "predicted_n": made,
            "predicted_ms": 1000 * spent_s,
        }
        body = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "timings": timings}
        self.wfile.write(f"data: {json.dumps(body)}\n\n".encode())

    def generate(self, tokens: int) -> None:
        SLOT.update(
            id_task=SLOT["id_task"] + 1,
            is_processing=True,
            n_prompt_tokens=PROMPT_TOKENS,
            n_prompt_tokens_processed=0,
            next_token=[{"n_decoded": 0}],
        )
        for done in range(0, PROMPT_TOKENS, 25):
            time.sleep(ARGS.prefill_s / 4)
            SLOT["n_prompt_tokens_processed"] = done + 25
        began = time.monotonic()
        for made in range(1, tokens + 1):
            if ARGS.cut_after and made > ARGS.cut_after:
                return
            time.sleep(max(0.0, began + (made - 1) * ARGS.token_s - time.monotonic()))
            SLOT["next_token"] = [{"n_decoded": made}]
            self.chunk(f"w{made} ", made, time.monotonic() - began)
        self.chunk(None, tokens, (tokens - 1) * ARGS.token_s, "length")
        self.wfile.write(b"data: [DONE]\n\n")


class Server(ThreadingHTTPServer):
    daemon_threads = True


def main() -> None:
    if ARGS.ignore_term:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if ARGS.grandchild:
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        with open(ARGS.grandchild, "w") as file:
            file.write(str(child.pid))
    line = "x" * 99 + "\n"
    sys.stderr.write(line * (ARGS.chatty_bytes // len(line)))
    sys.stderr.buffer.write(bytes.fromhex(ARGS.say_hex))
    for text in ARGS.say:
        say(text)
    if ARGS.die_at_start:
        sys.exit(ARGS.die_code)
    Server(("127.0.0.1", ARGS.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
