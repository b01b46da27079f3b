"""Loading, generating, hanging up, stopping: what happens while something else does."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from app.runtimes.embedded.options import parse
from app.runtimes.embedded.server import EngineServer, Service
from app.runtimes.load_log import parse as parse_log

from .conftest import CONTEXT, CPU_ONLY, Start
from .engine_process import ROOT, EngineProcess, Stream, wait_until

LONG = {"n_predict": CONTEXT, "temperature": 0, "ignore_eos": True}


def test_health_says_loading_until_there_is_a_model(model: Path) -> None:
    server = EngineServer(Service(parse(["-m", str(model), "--port", "0"])))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        for method, path in (("GET", "/health"), ("GET", "/slots"), ("POST", "/completion")):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            connection.request(method, path, b"{}")
            response = connection.getresponse()
            assert response.status == 503
            assert b'"message":"Loading model"' in response.read()
            connection.close()
    finally:
        server.shutdown()
        server.server_close()


def test_socket_listens_before_the_model_is_loaded(start: Start, model: Path) -> None:
    engine = start("-m", str(model), *CPU_ONLY)
    status, _ = engine.request("GET", "/health")
    assert status in (200, 503)
    engine.ready()
    lines = engine.lines
    assert next(i for i, line in enumerate(lines) if "listening" in line) < next(
        i for i, line in enumerate(lines) if "load_tensors" in line
    )


def test_log_has_the_load_report(start: Start, model: Path) -> None:
    engine = start("-m", str(model), *CPU_ONLY, "-c", "1024", "-lm", "none", "-ot", "exps=CPU").ready()
    report = parse_log(engine.lines)
    assert sum(report.weight_bytes.values()) > 0.9 * model.stat().st_size
    assert report.kv_bytes["CPU"] > 0
    assert report.compute_bytes["CPU"] > 0
    assert report.splits == 1


def test_slots_are_live(engine: EngineProcess) -> None:
    stream = Stream(engine, "/completion", prompt="abc", **LONG)
    chunks = iter(stream)
    next(chunks)
    first = engine.slot()
    assert first["is_processing"] is True
    seen = first["next_token"][0]["n_decoded"]
    assert seen >= 1
    wait_until(lambda: engine.slot()["next_token"][0]["n_decoded"] > seen)
    assert engine.metric("requests_processing") == 1
    stream.hang_up()
    wait_until(lambda: not engine.slot()["is_processing"])
    assert engine.line_with("t/s, cancelled").startswith(f"embedded: request {first['id_task']}: ")


def test_long_prompt_shows_its_progress(engine: EngineProcess) -> None:
    prompt = [300] * 3000
    asking = Thread(target=lambda: engine.post("/completion", prompt=prompt, n_predict=1, cache_prompt=False))
    asking.start()
    wait_until(lambda: engine.slot()["n_prompt_tokens"] == 3000 and engine.slot()["is_processing"])
    wait_until(lambda: 0 < engine.slot()["n_prompt_tokens_processed"] < 3000)
    asking.join()
    assert engine.slot()["n_prompt_tokens_processed"] == 3000


def test_full_context_ends_the_answer(start: Start, model: Path) -> None:
    engine = start("-m", str(model), *CPU_ONLY, "-c", "256").ready()
    answer = engine.post("/completion", prompt=[300] * 200, ignore_eos=True)
    assert (answer["stop_type"], answer["truncated"]) == ("limit", True)
    assert answer["tokens_cached"] == 256


def test_hanging_up_frees_the_slot(engine: EngineProcess) -> None:
    stream = Stream(engine, "/v1/chat/completions", messages=[{"role": "user", "content": "hi"}], **LONG)
    next(iter(stream))
    stream.hang_up()
    wait_until(lambda: not engine.slot()["is_processing"])
    assert engine.slot()["next_token"][0]["n_decoded"] < CONTEXT / 2
    assert engine.post("/completion", prompt="abc", n_predict=3)["tokens_predicted"] == 3


def test_hanging_up_without_a_stream_frees_the_slot_too(engine: EngineProcess) -> None:
    connection = engine.connection()
    connection.request("POST", "/completion", b'{"prompt": [300], "ignore_eos": true}')
    wait_until(lambda: bool(engine.slot()["next_token"][0]["n_decoded"] and engine.slot()["is_processing"]))
    connection.close()
    wait_until(lambda: not engine.slot()["is_processing"])
    assert engine.slot()["next_token"][0]["n_decoded"] < CONTEXT / 2


def test_a_request_waits_for_its_turn_and_may_leave_the_queue(engine: EngineProcess) -> None:
    first = Stream(engine, "/completion", prompt="abc", **LONG)
    next(iter(first))
    waiting = engine.connection()
    waiting.request("POST", "/completion", b'{"prompt": [300], "n_predict": 5}')
    wait_until(lambda: engine.metric("requests_deferred") == 1)
    busy_with = engine.slot()["id_task"]
    waiting.close()
    time.sleep(0.4)  # longer than the engine's look at waiting clients, which nothing outside shows
    first.hang_up()
    wait_until(lambda: engine.metric("requests_deferred") == 0 and not engine.slot()["is_processing"])
    assert engine.slot()["id_task"] == busy_with, "the request of the client that left was served"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_mid_generation_ends_it_within_a_second(start: Start, model: Path, number: signal.Signals) -> None:
    engine = start("-m", str(model), *CPU_ONLY, "-c", str(CONTEXT)).ready()
    stream = Stream(engine, "/completion", prompt="abc", **LONG)
    chunks = iter(stream)
    next(chunks)
    began = time.monotonic()
    engine.process.send_signal(number)
    assert engine.exit_code() == 0
    assert time.monotonic() - began < 1.0
    with pytest.raises(ConnectionRefusedError):
        engine.connection().connect()


def test_sigterm_while_loading_ends_it(start: Start, model: Path) -> None:
    engine = start("-m", str(model), *CPU_ONLY)
    engine.line_with("listening on")
    engine.process.terminate()
    assert engine.exit_code() == 0


def test_port_in_use(start: Start, model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        engine = start("-m", str(model), *CPU_ONLY[:-1], port)
        assert engine.exit_code() == 7
    assert engine.last_line() == f"error: port {port} on 127.0.0.1 is in use by another program"


def test_listens_on_this_machine_only_by_default(start: Start, model: Path) -> None:
    engine = start("-m", str(model), *CPU_ONLY).ready()
    port = urlsplit(engine.url).port
    assert engine.url.startswith("http://127.0.0.1:")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), timeout=5)


def test_model_that_cannot_be_read(start: Start, model: Path, tmp_path: Path) -> None:
    text, truncated = tmp_path / "notes.gguf", tmp_path / "half.gguf"
    text.write_text("hello")
    truncated.write_bytes(model.read_bytes()[:1_000_000])
    for path, words in (
        (tmp_path / "absent.gguf", "No such file"),
        (tmp_path, "it is a folder"),
        (text, "it is not a GGUF file"),
        (truncated, "cannot be loaded"),
    ):
        engine = start("-m", str(path), *CPU_ONLY)
        assert engine.exit_code() == 3, path
        assert engine.last_line().startswith("error: "), path
        assert words in engine.last_line(), path


def test_context_that_cannot_be_made(start: Start, model: Path) -> None:
    engine = start("-m", str(model), "-dev", "none", "-ngl", "0", "--port", "0", "-fa", "off", "-ctv", "q8_0")
    assert engine.exit_code() == 1
    assert engine.last_line().startswith("error: the context cannot be made: ")
    assert "flash_attn" in engine.last_line()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rpc", "a:1"), "error: invalid argument: --rpc"),
        (("-np", "4"), "one sequence at a time"),
        (("-c", "many"), "argument -c/--ctx-size: 'many' is not a whole number"),
        (("-ctk", "q3"), "argument -ctk/--cache-type-k"),
        (("-ot", "exps"), "not a list of PATTERN=BUFFER-TYPE"),
        (("-ts", "0,0"), "not a list of shares"),
        (("-dev", "CUDA7"), "invalid device: CUDA7"),
        (("-ot", "exps=CUDA7"), "unknown buffer type CUDA7"),
    ],
)
def test_options_it_cannot_follow_are_refused(
    start: Start, model: Path, arguments: tuple[str, ...], words: str
) -> None:
    engine = start("-m", str(model), "--port", "0", *arguments)
    assert engine.exit_code() == 2
    assert words in engine.last_line()


def test_process_loads_little_of_moetune() -> None:
    script = (
        "import sys; from app.runtimes.embedded import __main__; from app.runtimes.embedded.bindings import ggml; "
        "ggml(); print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = set(said.split())
    assert {"llama_cpp.llama_cpp", "app.runtimes.embedded.generation"} <= loaded
    assert not loaded & {"numpy", "jinja2", "asyncio", "app.solver", "app.runtimes.base", "detectors", "textual"}
