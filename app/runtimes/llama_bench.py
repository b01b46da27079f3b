"""Timing llama.cpp with its own tools: `llama-bench`, or `llama-batched-bench` where that is missing.

Both time random tokens without sampling: a decode step costs what it costs in a server, less about a percent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from app.errors import EngineFailedError, NoEngineError
from app.runtimes.base import Engine
from app.runtimes.bench import Bench, BenchRequest, BenchRow, lines_of
from app.runtimes.llama_command import placement_arguments, tool_argv
from app.runtimes.llama_flags import Dialect, parse_help
from app.runtimes.llama_probe import ask

TOOL, BATCHED_TOOL = "llama-bench", "llama-batched-bench"
HELP_LIMIT_S = 10.0
_SWITCH_FORM = re.compile(r"^ *-fa, .*<0\|1>", re.MULTILINE)
"""`-fa` took 0 or 1 until 2025, `on` or `off` since."""
_LISTS = {"-dev": "/", "-ts": "/", "-ot": ";"}
"""llama-bench separates tests by commas, and the values of these options by other signs than the server."""


def bench_of(engine: Engine) -> Bench:
    """The best way to time that engine.

    Raises:
        NoEngineError: there is none.
    """
    if engine.runtime == "embedded":
        from app.runtimes.embedded.timed import EmbeddedBench

        return EmbeddedBench(engine)
    for tool, kind in ((TOOL, LlamaBench), (BATCHED_TOOL, BatchedBench)):
        if tool in engine.tools:
            return kind(engine)
    raise NoEngineError(
        f"There is neither {TOOL} nor {BATCHED_TOOL} beside {engine.path}.",
        hint="`moetune runtime build` builds both.",
    )


def can_be_timed(engine: Engine) -> bool:
    """Whether `bench_of` has a way."""
    return engine.runtime == "embedded" or TOOL in engine.tools or BATCHED_TOOL in engine.tools


class LlamaBench:
    """`llama-bench -o jsonl`: every repetition by itself, the cache of a depth filled once."""

    name = TOOL

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._argv = tool_argv(engine.tools[TOOL], "bench")
        self._help: str | None = None

    def run(self, request: BenchRequest, *, limit_s: float) -> Iterator[BenchRow]:
        """Run the tests; one row as each is done."""
        for line in lines_of((*self._argv, *self.arguments(request)), limit_s=limit_s):
            if row := read_row(line):
                yield row

    def arguments(self, request: BenchRequest) -> tuple[str, ...]:
        """llama-bench's options for a request, in the spelling of this version.

        Raises:
            NoEngineError: an option is missing that changes what is measured.
        """
        text = self._help_text()
        known = parse_help(text)
        dialect = Dialect(known.flags, known.switches, f"{TOOL} of {self._engine.path}")
        p = request.parameters
        on = ("1" if p.flash_attention else "0") if _SWITCH_FORM.search(text) else "on" if p.flash_attention else "off"
        depths = dialect.need("-d", _joined(request.depths)) if any(request.depths) else ()
        return (
            *dialect.need("-m", str(request.model_path)),
            *dialect.need("-o", "jsonl"),
            *dialect.need("-r", str(request.repetitions)),
            *dialect.need("-p", _joined(request.prompts) or "0"),
            *dialect.need("-n", _joined(request.generated) or "0"),
            *depths,
            *placement_words(request, self._engine, dialect),
            *dialect.need("-t", str(p.threads)),
            *dialect.need("-b", str(p.batch)),
            *dialect.need("-ub", str(p.ubatch)),
            *dialect.need("-fa", on),
            *dialect.need("-ctk", p.kv_type_k),
            *dialect.need("-ctv", p.kv_type_v),
            *_load_mode(p.load_mode, dialect),
            *(dialect.need("--no-host", "1") if p.no_host else ()),
            *(() if p.op_offload else dialect.need("-nopo", "1")),
        )

    def _help_text(self) -> str:
        if self._help is None:
            answer = ask((*self._argv, "--help"), HELP_LIMIT_S)
            if answer.trouble:
                raise EngineFailedError(f"{TOOL} cannot be asked. {answer.trouble}", hint=answer.hint)
            self._help = answer.stdout + answer.stderr
        return self._help


def placement_words(request: BenchRequest, engine: Engine, dialect: Dialect) -> tuple[str, ...]:
    """The server's placement options with llama-bench's separators.

    Raises:
        NoEngineError: llama-bench lacks one of them.
    """
    words = list(placement_arguments(request.placement, engine, Dialect.of(engine)))
    found: list[str] = []
    for flag, value in zip(words[::2], words[1::2], strict=True):
        spelled = "-rpc" if flag == "--rpc" and dialect.knows("-rpc") else flag
        found += dialect.need(spelled, value.replace(",", _LISTS.get(flag, ",")))
    return tuple(found)


def read_row(line: str) -> BenchRow | None:
    """One line of `-o jsonl`; `None` for what is none."""
    if not line.startswith("{"):
        return None
    try:
        row: dict[str, Any] = json.loads(line)
        prompt, generated = int(row["n_prompt"]), int(row["n_gen"])
        samples = [float(sample) for sample in row["samples_ns"]]
        depth = int(row.get("n_depth", 0))
    except (ValueError, KeyError, TypeError):
        return None
    if bool(prompt) == bool(generated) or not samples or min(samples) <= 0:
        return None
    tokens = prompt or generated
    return BenchRow(
        "prefill" if prompt else "decode", tokens, depth, tuple(sample / 1e6 / tokens for sample in samples)
    )


def _load_mode(mode: str, dialect: Dialect) -> tuple[str, ...]:
    if dialect.knows("-lm"):
        return ("-lm", mode)
    return dialect.if_known("-mmp", "1" if mode == "mmap" else "0")


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


class BatchedBench:
    """`llama-batched-bench`: one sequence, prompt then generation; repeated by starting it again."""

    name = BATCHED_TOOL

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._argv = tool_argv(engine.tools[BATCHED_TOOL], "batched-bench")

    def run(self, request: BenchRequest, *, limit_s: float) -> Iterator[BenchRow]:
        """Run the tests. A depth is filled by its prompt, whose time is given as a prompt of that length."""
        import time

        deadline = time.monotonic() + limit_s
        for depth in request.depths:
            for prompt in request.prompts if depth == 0 else ():
                samples = self._samples(request, prompt, 1, "t_pp", deadline)
                yield BenchRow("prefill", prompt, 0, tuple(1000 * sample / prompt for sample in samples))
            for tokens in request.generated:
                samples = self._samples(request, max(depth, 1), tokens, "t_tg", deadline)
                yield BenchRow("decode", tokens, depth, tuple(1000 * sample / tokens for sample in samples))

    def _samples(
        self, request: BenchRequest, prompt: int, generated: int, name: str, deadline: float
    ) -> tuple[float, ...]:
        import time

        found = []
        for _ in range(request.repetitions):
            argv = (*self._argv, *self.arguments(request, prompt, generated))
            lines = lines_of(argv, limit_s=max(1.0, deadline - time.monotonic()))
            rows = [json.loads(line) for line in lines if line.startswith("{")]
            if not rows:
                raise EngineFailedError(f"{BATCHED_TOOL} printed no figures.")
            found.append(float(rows[-1][name]))
        return tuple(found)

    def arguments(self, request: BenchRequest, prompt: int, generated: int) -> tuple[str, ...]:
        """llama-batched-bench's options: the server's, and what is to be timed."""
        p = request.parameters
        dialect = Dialect.of(self._engine)
        return (
            *("-m", str(request.model_path)),
            *placement_arguments(request.placement, self._engine, dialect),
            *("-c", str(max(request.context, prompt + generated) + 64)),
            *("-b", str(p.batch), "-ub", str(p.ubatch)),
            *dialect.flash_attention(p.flash_attention),
            *("-ctk", p.kv_type_k, "-ctv", p.kv_type_v),
            *("-t", str(p.threads), "-tb", str(p.threads_batch)),
            *dialect.load_mode(p.load_mode),
            *("-npp", str(prompt), "-ntg", str(generated), "-npl", "1"),
            *("--output-format", "jsonl"),
        )
