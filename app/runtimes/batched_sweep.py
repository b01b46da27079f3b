"""A sweep of a plan by `llama-batched-bench`: prompts of several lengths, then as many sequences decoded together."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, cast

from app.errors import EngineFailedError, NoEngineError
from app.paths import cache_dir
from app.runtimes.base import Engine
from app.runtimes.bench import lines_of
from app.runtimes.llama_bench import BATCHED_TOOL, HELP_LIMIT_S
from app.runtimes.llama_command import memory_arguments, tool_argv
from app.runtimes.llama_flags import Dialect, parse_help
from app.runtimes.llama_probe import ask
from app.solver.plan import Plan

CELLS = 256
"""llama.cpp rounds the cache of a sequence up to so many tokens."""
WARM_UP_TOKENS = 512
"""The tool decodes so many once before it times anything; the context must hold them."""
_NO_NUMBER = re.compile(r":\s*-?(?:nan|inf)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SweepPass:
    """What one start of the tool times: each prompt length with each number of sequences."""

    prompts: tuple[int, ...]
    """Tokens in the cache of each sequence before it generates, rising."""
    batches: tuple[int, ...]
    """Sequences at once, rising."""
    generated: int
    """Tokens that each sequence generates."""

    @property
    def context(self) -> int:
        """Tokens of context that all sequences need together; each has the same share of it."""
        each = math.ceil((max(self.prompts) + self.generated) / CELLS) * CELLS
        return max(WARM_UP_TOKENS, each * max(self.batches))


@dataclass(frozen=True, slots=True)
class SweepRow:
    """One line of the tool. Speeds are tokens of all sequences per second."""

    prompt_tokens: int
    batch: int
    generated: int
    prefill_tps: float | None
    """Of the whole prompts, from an empty cache; `None` where there was none."""
    decode_tps: float | None


class BatchedSweep:
    """Times a plan's own placement and parameters; nothing of the tool outlives the iterator.

    Raises:
        NoEngineError: there is no such tool beside the engine.
    """

    def __init__(self, engine: Engine) -> None:
        if BATCHED_TOOL not in engine.tools:
            raise NoEngineError(
                f"There is no {BATCHED_TOOL} beside {engine.path}.",
                hint="`moetune runtime build` builds it; --url measures a running endpoint of any engine.",
            )
        self._engine = engine
        self._argv = tool_argv(engine.tools[BATCHED_TOOL], "batched-bench")
        self._dialect: Dialect | None = None

    def run(self, plan: Plan, wanted: SweepPass, *, limit_s: float) -> Generator[SweepRow, None, None]:
        """Give each row as it is there.

        Raises:
            EngineFailedError: the tool failed, with the reason, or was ended after `limit_s` seconds.
            NoEngineError: it lacks an option or a device that the plan needs.
        """
        environment = {"XDG_CONFIG_HOME": str(cache_dir() / "no-config")}
        lines = lines_of((*self._argv, *self.arguments(plan, wanted)), limit_s=limit_s, env=environment)
        with closing(cast("Generator[str, None, None]", lines)):
            for line in lines:
                if row := read_sweep_row(line):
                    yield row

    def arguments(self, plan: Plan, wanted: SweepPass) -> tuple[str, ...]:
        """The server's options for this plan, with the context that the pass needs, and what is to be timed."""
        dialect, p = self._spoken(), plan.parameters
        sized = replace(p, context=wanted.context, parallel=max(wanted.batches))
        return (
            *memory_arguments(replace(plan, parameters=sized), self._engine, dialect),
            *dialect.need("-t", str(p.threads)),
            *dialect.need("-tb", str(p.threads_batch)),
            *(dialect.if_known("--numa", p.numa) if p.numa else ()),
            *dialect.need("-npp", _joined(wanted.prompts)),
            *dialect.need("-ntg", str(wanted.generated)),
            *dialect.need("-npl", _joined(wanted.batches)),
            *dialect.need("--output-format", "jsonl"),
        )

    def _spoken(self) -> Dialect:
        if self._dialect is None:
            answer = ask((*self._argv, "--help"), HELP_LIMIT_S)
            if answer.trouble:
                raise EngineFailedError(f"{BATCHED_TOOL} cannot be asked. {answer.trouble}", hint=answer.hint)
            known = parse_help(answer.stdout + answer.stderr)
            self._dialect = Dialect(known.flags, known.switches, f"{BATCHED_TOOL} of {self._engine.path}")
        return self._dialect


def read_sweep_row(line: str) -> SweepRow | None:
    """One line of `--output-format jsonl`; `None` for what is none.

    The tool writes a bare `nan`, `-nan` or `inf` where it divides by no time, which JSON does not know. The speeds
    are taken from its times, so those values are never needed.
    """
    if not line.startswith("{"):
        return None
    try:
        row: dict[str, Any] = json.loads(_NO_NUMBER.sub(": null", line))
        prompt, generated, batch = int(row["pp"]), int(row["tg"]), int(row["pl"])
        prefill = _rate((1 if row.get("is_pp_shared") else batch) * prompt, row["t_pp"])
        return SweepRow(prompt, batch, generated, prefill, _rate(batch * generated, row["t_tg"]))
    except (ValueError, KeyError, TypeError):
        return None


def _rate(tokens: int, seconds: float | None) -> float | None:
    return tokens / seconds if tokens and seconds else None


def _joined(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))
