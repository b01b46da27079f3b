"""Asking llama.cpp itself what a plan would take: `llama-fit-params --fit-print on`.

It reserves the real graphs without loading a weight, in well under a second, and is exact for weights and KV. Its
compute figure of the device with the output head is an upper bound: it reserves logits for a whole ubatch (vocabulary
x ubatch x 4 bytes), where llama-server does so for one token of each sequence.
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
_HOST_ROW = re.compile(r"memory_breakdown_print: \|\s+- (\S+)\s+\|\s+\d+ =\s+(\d+) \+\s+(\d+) \+\s+(\d+)\s+\|")
"""A row of host memory in the breakdown on stderr: it alone shows weights that were repacked for the CPU."""

MemoryBytes = dict[str, tuple[int, int, int]]
"""Device id -> bytes of weights, of KV cache and state, of compute buffers."""


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """What the engine says that a plan takes, or why it does not say."""

    memory_bytes: MemoryBytes | None
    reason: str = ""


def ask_memory(plan: Plan, engine: Engine) -> OracleAnswer:
    """Ask the engine's fit tool about `plan`. Never raises; kept by engine, model file and arguments."""
    tool = engine.tools.get(TOOL)
    if tool is None:
        return OracleAnswer(None, reason=f"There is no {TOOL} beside {engine.path}.")
    identity = identify(tool, "fit-params")
    if isinstance(identity, Answer):
        return OracleAnswer(None, reason=f"{tool} cannot be asked. {identity.trouble}")
    if not Path(plan.model_path).is_file():
        return OracleAnswer(None, reason=f"There is no model file {plan.model_path}.")
    try:
        arguments = _arguments(plan, engine, identity)
    except NoEngineError as error:
        return OracleAnswer(None, reason=error.message)
    key = (*answers.file_key(tool), identity.version, *answers.file_key(Path(plan.model_path)), *arguments)
    kept = answers.recall("oracle", key)
    if isinstance(kept, dict):
        return _answer(kept, engine)
    said = ask((*tool_argv(tool, "fit-params"), *arguments), LIMIT_S)
    if said.trouble:
        return OracleAnswer(None, reason=f"{TOOL} failed. {said.trouble}")
    rows = parse_rows(said.stdout, said.stderr)
    if not rows:
        return OracleAnswer(None, reason=f"{TOOL} printed no figures.")
    answers.keep("oracle", key, rows)
    return _answer(rows, engine)


def parse_rows(table: str, breakdown: str = "") -> dict[str, list[int]]:
    """MiB of model, context and compute by device name; `Host` is the CPU's memory.

    Args:
        table: stdout, lines like `CUDA0 2542 2622 493`.
        breakdown: stderr, where buffer types beside the devices' own have rows: `CPU_REPACK`, `AMX`. They are host
            memory and are added to it.
    """
    matches = map(_ROW.match, table.splitlines())
    rows = {m[1]: [int(m[2]), int(m[3]), int(m[4])] for m in matches if m}
    for m in _HOST_ROW.finditer(breakdown):
        if m[1] != "Host" and "Host" in rows:
            rows["Host"] = [have + int(more) for have, more in zip(rows["Host"], m.groups()[1:], strict=True)]
    return rows


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


def _answer(rows: dict[str, list[int]], engine: Engine) -> OracleAnswer:
    ids = {"Host": "cpu"} | {device.name: device.device_id for device in engine.devices if device.device_id}
    return OracleAnswer(
        {
            ids[name]: (weights * MIB, kv * MIB, compute * MIB)
            for name, (weights, kv, compute) in rows.items()
            if name in ids
        }
    )
