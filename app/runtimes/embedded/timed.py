"""The parent's side of timing the embedded engine: a child that prints llama-bench's rows."""

from __future__ import annotations

import os
from collections.abc import Iterator

from app.runtimes.base import Engine
from app.runtimes.bench import BenchRequest, BenchRow, lines_of
from app.runtimes.embedded.runtime import child_argv, import_path
from app.runtimes.llama_command import placement_arguments
from app.runtimes.llama_flags import Dialect


class EmbeddedBench:
    """Times llama-cpp-python in a child process."""

    name = "embedded"

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(self, request: BenchRequest, *, limit_s: float) -> Iterator[BenchRow]:
        """Run the tests; one row as each is done."""
        from app.runtimes.llama_bench import read_row

        argv = (*child_argv(self._engine, "bench"), *self.arguments(request))
        for line in lines_of(argv, limit_s=limit_s, env=import_path(os.environ)):
            if row := read_row(line):
                yield row

    def arguments(self, request: BenchRequest) -> tuple[str, ...]:
        """The child's options.

        Raises:
            NoEngineError: a device that this build cannot use.
        """
        p = request.parameters
        dialect = Dialect(self._engine.flags, self._engine.switches, f"The embedded engine ({self._engine.version})")
        return (
            *dialect.need("-m", str(request.model_path)),
            *placement_arguments(request.placement, self._engine, dialect),
            *dialect.need("-c", str(request.context + 64)),
            *dialect.need("-b", str(p.batch)),
            *dialect.need("-ub", str(p.ubatch)),
            *dialect.flash_attention(p.flash_attention),
            *dialect.need("-ctk", p.kv_type_k),
            *dialect.need("-ctv", p.kv_type_v),
            *dialect.need("-t", str(p.threads)),
            *dialect.need("-tb", str(p.threads_batch)),
            *dialect.load_mode(p.load_mode),
            *("--prompts", ",".join(map(str, request.prompts))),
            *("--generated", ",".join(map(str, request.generated))),
            *("--depths", ",".join(map(str, request.depths))),
            *("--repetitions", str(request.repetitions)),
        )
