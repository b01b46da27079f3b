"""Asking llama.cpp itself what a plan would take: `llama-fit-params --fit-print on`.

It reserves the real graphs without loading a weight, in well under a second, and is exact for weights and KV. Its
compute figure of the device with the output head is an upper bound: it reserves logits for a whole ubatch, where
llama-server does so for one token per sequence (`logits_bytes` is that difference, at most).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from app.errors import NoEngineError
from app.runtimes import answers
from app.runtimes.base import Engine
from app.runtimes.llama_command import memory_arguments, tool_argv
from app.runtimes.llama_flags import Dialect
from app.runtimes.llama_probe import Answer, Identity, ask, identify
from app.solver.plan import Plan
from app.units import MIB

TOOL = "llama-fit-params"
LIMIT_S = 30.0
"""A question takes 0.1 to 1 s; a model on a cold disk or a slow RPC host longer."""

_ROW = re.compile(r"^(\S+) (\d+) (\d+) (\d+) *$")
_VOCABULARY = re.compile(r"\bn_vocab\s*=\s*(\d+)")

MemoryBytes = dict[str, tuple[int, int, int]]
"""Device id -> bytes of weights, of KV cache and state, of compute buffers."""


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """What the engine says that a plan takes, or why it does not say."""

    memory_bytes: MemoryBytes | None
    logits_bytes: int = 0
    """How much of the head device's compute bytes llama-server may not reserve, at most."""
    reason: str = ""


def ask_memory(plan: Plan, engine: Engine) -> OracleAnswer:
    """Ask the engine's fit tool about `plan`. Never raises; kept by engine, model file and arguments."""
    tool = engine.tools.get(TOOL)
    if tool is None:
        return OracleAnswer(None, reason=f"There is no {TOOL} beside {engine.path}.")
    identity = identify(tool, "fit-params")
    if isinstance(identity, Answer):
        return OracleAnswer(None, reason=f"{tool} cannot be asked. {identity.trouble}")
    try:
        arguments = _arguments(plan, engine, identity)
    except NoEngineError as error:
        return OracleAnswer(None, reason=error.message)
    key = (*answers.file_key(tool), identity.version, *answers.file_key(Path(plan.model_path)), *arguments)
    kept = answers.recall("oracle", key)
    if isinstance(kept, dict):
        return _answer(kept["rows"], kept["vocabulary"], plan, engine)
    said = ask((*tool_argv(tool, "fit-params"), *arguments), LIMIT_S)
    if said.trouble:
        return OracleAnswer(None, reason=f"{TOOL} failed. {said.trouble}")
    rows = parse_rows(said.stdout)
    if not rows:
        return OracleAnswer(None, reason=f"{TOOL} printed no figures.")
    match = _VOCABULARY.search(said.stderr)
    vocabulary = int(match[1]) if match else 0
    answers.keep("oracle", key, {"rows": rows, "vocabulary": vocabulary})
    return _answer(rows, vocabulary, plan, engine)


def parse_rows(text: str) -> dict[str, list[int]]:
    """Read `CUDA0 2542 2622 493`: MiB of model, context and compute by device; `Host` is the CPU's memory."""
    return {
        match[1]: [int(match[2]), int(match[3]), int(match[4])]
        for line in text.splitlines()
        if (match := _ROW.match(line))
    }


def _arguments(plan: Plan, engine: Engine, identity: Identity) -> tuple[str, ...]:
    """The server's own memory arguments in the tool's dialect.

    Raises:
        NoEngineError: the tool lacks an option, so its answer would be about another plan.
    """
    dialect = Dialect(identity.flags, identity.switches, f"{TOOL} {identity.version}")
    return (
        *memory_arguments(plan, engine, dialect),
        *dialect.need("--fit-print", "on"),
        *dialect.load_details(),
    )


def _answer(rows: dict[str, list[int]], vocabulary: int, plan: Plan, engine: Engine) -> OracleAnswer:
    ids = {"Host": "cpu"} | {device.name: device.device_id for device in engine.devices if device.device_id}
    memory = {
        ids[name]: (weights * MIB, kv * MIB, compute * MIB)
        for name, (weights, kv, compute) in rows.items()
        if name in ids
    }
    p = plan.parameters
    surplus_tokens = max(min(p.ubatch, p.context) - p.parallel, 0)
    # Logits are float32.
    return OracleAnswer(memory, logits_bytes=4 * vocabulary * surplus_tokens)
