"""The parent's side of the embedded engine. Nothing here loads llama.cpp: a child is asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import NoEngineError
from app.runtimes import answers
from app.runtimes.base import Command, Engine, EngineDevice
from app.runtimes.llama_command import memory_arguments
from app.runtimes.llama_devices import CPU_DEVICE
from app.runtimes.llama_flags import Dialect
from app.runtimes.llama_probe import Answer, ask
from app.solver.plan import Plan

_MODULE = "app.runtimes.embedded"
_PROBE_LIMIT_S = 20.0
"""0.2 s for a CPU build with a warm cache; a GPU's driver takes seconds to start, a cold disk a few more."""
_ORACLE_LIMIT_S = 30.0
"""0.1 to 1 s; a model with a large vocabulary on a cold disk longer."""
_SILENT_CHANGES = ("LLAMA_CPP_LIB_PATH", "LLAMA_GRAPH_REUSE_DISABLE", "GGML_SCHED_DEBUG")
"""Variables that would load another library or slow every step down."""


@dataclass(frozen=True, slots=True)
class _Package:
    """An installed llama-cpp-python, found without importing it."""

    version: str
    init: Path


def _find_package() -> _Package | None:
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    spec = find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        return None
    try:
        return _Package(version("llama-cpp-python"), Path(spec.origin))
    except PackageNotFoundError:
        return None


class Embedded:
    """Runs models with llama-cpp-python in a child process.

    One sequence at a time, no RPC; every GPU backend that the package was built with.
    """

    name = "embedded"

    def discover(self, rpc: tuple[str, ...] = ()) -> tuple[Engine, ...]:
        """The engine of this interpreter, or none where llama-cpp-python is missing or cannot be loaded.

        Args:
            rpc: ignored; this engine has no RPC, and its flags say so.
        """
        package = _find_package()
        if package is None:
            return ()
        answer = _probe(package)
        if answer is None:
            return ()
        from app.runtimes.embedded.options import known_flags

        return (
            Engine(
                runtime=self.name,
                path=Path(sys.executable),
                origin="embedded",
                version=f"llama-cpp-python {package.version}, {answer['build']}",
                backends=tuple(answer["backends"]),
                devices=_engine_devices(answer["devices"]),
                flags=known_flags(),
            ),
        )

    def command(self, plan: Plan, engine: Engine, *, port: int, host: str = "127.0.0.1") -> Command:
        """The command that serves `plan`.

        Raises:
            NoEngineError: the plan wants several sequences at once, or a device that this build cannot use.
        """
        p = plan.parameters
        argv = (
            *child_argv(engine),
            *_memory_arguments(plan, engine),
            *("-t", str(p.threads), "-tb", str(p.threads_batch)),
            *("--alias", plan.model_name, "--host", host, "--port", str(port)),
        )
        return Command(
            argv=argv,
            env=import_path(os.environ),
            unset=tuple(name for name in _SILENT_CHANGES if name in os.environ),
            url=f"http://{_reachable(host)}:{port}",
        )

    def memory_oracle(self, plan: Plan, engine: Engine) -> dict[str, tuple[int, int, int]] | None:
        """Ask a child that loads `plan` without allocating; `None` where it cannot tell.

        It cannot where the model or the plan is refused, and where the llama.cpp inside is built with another C++
        library than libstdc++ (its only account of memory is a C++ object).
        """
        try:
            arguments = _memory_arguments(plan, engine)
        except NoEngineError:
            return None
        key = (engine.version, *answers.file_key(engine.path), *answers.file_key(Path(plan.model_path)), *arguments)
        rows = answers.recall("oracle", key)
        if rows is None:
            rows = _json(_ask(engine.path, "oracle", *arguments, limit_s=_ORACLE_LIMIT_S))
            if rows is None:
                return None
            answers.keep("oracle", key, rows)
        return _by_device(rows, engine) if isinstance(rows, dict) else None


def _memory_arguments(plan: Plan, engine: Engine) -> tuple[str, ...]:
    if plan.parameters.parallel != 1:
        raise NoEngineError(
            f"The embedded engine runs one sequence at a time, and this plan has {plan.parameters.parallel}.",
            hint="Plan with one sequence, or build llama.cpp with `moetune runtime build`.",
        )
    speaker = f"The embedded engine ({engine.version})"
    return memory_arguments(plan, engine, Dialect(engine.flags, engine.switches, speaker))


def _by_device(rows: dict[str, list[int]], engine: Engine) -> dict[str, tuple[int, int, int]]:
    """Add up buffer types by device; pinned, mapped and repacked host memory is the CPU's."""
    ids = {device.buffer_type: device.device_id or device.name for device in engine.devices}
    memory: dict[str, tuple[int, int, int]] = {}
    for name, (weights, kv, compute) in rows.items():
        device_id = ids.get(name, "cpu")
        before = memory.get(device_id, (0, 0, 0))
        memory[device_id] = (before[0] + weights, before[1] + kv, before[2] + compute)
    return memory


def _probe(package: _Package) -> dict[str, Any] | None:
    """What the child says of its build, kept while the package is the same. GPUs come and go: with them, never kept."""
    key = (sys.executable, package.version, *answers.file_key(package.init))
    kept = answers.recall("embedded", key)
    if isinstance(kept, dict):
        return kept
    said = _ask(Path(sys.executable), "probe", limit_s=_PROBE_LIMIT_S)
    answer = _json(said)
    if answer is None:
        import logging

        logging.getLogger(__name__).warning(
            "llama-cpp-python %s is installed and cannot be used. %s", package.version, said.trouble
        )
        return None
    if all(device["kind"] == "cpu" for device in answer["devices"]):
        answers.keep("embedded", key, answer)
    return answer


def _engine_devices(listed: list[dict[str, Any]]) -> tuple[EngineDevice, ...]:
    """The CPU first, then what else computes; accelerators such as BLAS are no place to put weights."""
    return (
        CPU_DEVICE,
        *(
            EngineDevice(
                name=device["name"],
                buffer_type=device["buffer_type"],
                description=device["description"],
                total_bytes=device["total_bytes"] or None,
                free_bytes=device["free_bytes"] if device["total_bytes"] else None,
                device_id=f"gpu:{device['pci']}" if device["pci"] else None,
            )
            for device in listed
            if device["kind"] in ("gpu", "igpu")
        ),
    )


def _ask(python: Path, part: str, *arguments: str, limit_s: float) -> Answer:
    set_path = ("env", *(f"{name}={value}" for name, value in import_path(os.environ).items()))
    prefix = set_path if len(set_path) > 1 else ()
    return ask((*prefix, str(python), "-P", "-m", f"{_MODULE}.{part}", *arguments), limit_s)


def _json(answer: Answer) -> dict[str, Any] | None:
    if answer.exit_code != 0:
        return None
    try:
        value = json.loads(answer.stdout)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def child_argv(engine: Engine, part: str = "") -> tuple[str, ...]:
    """How to start the engine process, or another part of the package."""
    # -P: a folder `app` in the directory where moetune was started must not take this one's place.
    return (str(engine.path), "-P", "-m", f"{_MODULE}.{part}" if part else _MODULE)


def import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """What lets the child import this very project: nothing where it is installed, else its folder."""
    from sysconfig import get_path

    root = str(Path(__file__).resolve().parents[3])
    if root in (get_path("purelib"), get_path("platlib")):
        return {}
    before = environment.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([root, *([before] if before else [])])}


def _reachable(host: str) -> str:
    """The address a client on this machine uses for a server bound to `host`."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
