"""The engine process: `python -m app.runtimes.embedded -m MODEL ...`."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from queue import SimpleQueue

from app.errors import ExitCode
from app.runtimes.embedded.bindings import LogRouter, build_text, llama
from app.runtimes.embedded.generation import Generator
from app.runtimes.embedded.loading import LoadError, load
from app.runtimes.embedded.narration import say
from app.runtimes.embedded.options import Options, parse
from app.runtimes.embedded.server import EngineServer, Service
from app.runtimes.embedded.vocabulary import Vocabulary

_LAST_WORDS_S = 0.4
"""How long a stop waits for the step at hand, so that clients get an end of their stream."""


def _unusable(path: str) -> str | None:
    """Why the model file cannot be opened; llama.cpp would only say that it failed."""
    if os.path.isdir(path):
        return "it is a folder, not a GGUF file"
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        return error.strerror or str(error)
    return None if magic == b"GGUF" else "it is not a GGUF file"


def _serve_model(service: Service, endings: SimpleQueue[ExitCode]) -> None:
    """The engine thread: load, then generate. It alone calls llama_decode: OpenMP keeps a team per calling thread."""
    began = time.perf_counter()
    try:
        log = LogRouter()
        llama().llama_backend_init()
        say(f"embedded: llama-cpp-python with {build_text()}")

        def note(share: float) -> None:
            service.progress = share

        loaded = load(service.options, log, note)
        vocabulary = Vocabulary(loaded)
        _ = vocabulary.end_tokens  # a look at every token: not during the first request
        generator = Generator(loaded, vocabulary)
    except (LoadError, ImportError) as error:
        say(f"error: {error}")
        endings.put(error.exit_code if isinstance(error, LoadError) else ExitCode.NO_ENGINE)
        return
    service.vocabulary, service.generator = vocabulary, generator
    say(f"embedded: model loaded in {time.perf_counter() - began:.2f} s, n_ctx = {loaded.context_tokens}")
    try:
        generator.run()
    except Exception as error:  # noqa: BLE001 (the process must not live on without its engine)
        say(f"error: the engine thread failed: {type(error).__name__}: {error}")
        endings.put(ExitCode.FAILED)


def _listen(options: Options) -> EngineServer | ExitCode:
    try:
        return EngineServer(Service(options))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            say(f"error: port {options.port} on {options.host} is in use by another program")
            return ExitCode.PORT_IN_USE
        say(f"error: cannot listen on {options.host}:{options.port}: {error.strerror or error}")
        return ExitCode.FAILED


def main(argv: Sequence[str] | None = None) -> ExitCode:
    """Run until SIGTERM or SIGINT. The last line on stderr says what went wrong."""
    options = parse(sys.argv[1:] if argv is None else argv)
    if reason := _unusable(options.model):
        say(f"error: the model {options.model} cannot be used: {reason}")
        return ExitCode.MODEL
    server = _listen(options)
    if isinstance(server, ExitCode):
        return server
    endings: SimpleQueue[ExitCode] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: endings.put(ExitCode.OK))
    say(f"embedded: listening on {server.url}")
    service = server.service
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    engine = threading.Thread(target=_serve_model, args=(service, endings), name="engine", daemon=True)
    engine.start()
    code = endings.get()
    if service.generator is not None:
        service.generator.close()
        engine.join(_LAST_WORDS_S)
    return code


if __name__ == "__main__":
    ending = main()
    # Not sys.exit: llama.cpp may be in the middle of a step in another thread, and unloading it then can crash.
    os._exit(ending)
