"""Asking one llama.cpp binary what it is: its version, its options, its devices.

Version and options do not change with the file, so they are kept in the cache by path, size and time of change;
devices are asked each time, since their free memory is part of the answer.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.runtimes import answers
from app.runtimes.child import ChildOfOurs, engine_environment, kill_group
from app.runtimes.llama_command import tool_argv
from app.runtimes.llama_flags import parse_help

VERSION_LIMIT_S = 5.0
"""A program that only prints text; a cold disk is the slowest part of it."""
DEVICES_LIMIT_S = 10.0
"""CUDA takes up to a few seconds to start on a machine with many GPUs, an RPC server a round trip."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program printed before it ended."""

    stdout: str
    stderr: str
    exit_code: int | None
    """`None`: it did not end in time, or could not be started."""
    trouble: str = ""
    """Why there is no answer, one sentence."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """What never changes about a binary."""

    version: str
    flags: frozenset[str]
    switches: frozenset[str]


def ask(argv: Sequence[str], limit_s: float) -> Answer:
    """Run a program that answers and ends. Never raises; nothing of it outlives the call."""
    try:
        with ChildOfOurs(argv, env=engine_environment(), grace_s=0) as child:
            try:
                stdout, stderr = child.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                kill_group(child)
                stdout, stderr = child.communicate()
                return Answer(stdout, stderr, None, f"It did not answer within {limit_s:g} s.")
    except OSError as error:
        return Answer("", "", None, f"It cannot be started: {error.strerror or error}.", "Check the file.")
    if child.returncode == 0:
        return Answer(stdout, stderr, 0)
    from app.runtimes.failures import explain_failure

    reason, hint = explain_failure([*stdout.splitlines(), *stderr.splitlines()], child.returncode)
    return Answer(stdout, stderr, child.returncode, reason, hint)


def identify(path: Path, word: str) -> Identity | Answer:
    """The version and the options of a binary, or the answer that shows why they could not be had.

    Args:
        path: the binary.
        word: what it is called within the umbrella binary `llama`, such as `serve`.
    """
    key = answers.file_key(path)
    kept = answers.recall("engines", (*key, word))
    if isinstance(kept, dict):
        return Identity(str(kept["version"]), frozenset(kept["flags"]), frozenset(kept["switches"]))
    argv = tool_argv(path, word)
    version, options = in_parallel([(*argv, "--version"), (*argv, "--help")], VERSION_LIMIT_S)
    for answer in (version, options):
        if answer.trouble:
            return answer
    known = parse_help(options.stdout + options.stderr)
    if "--ctx-size" not in known.flags:
        return Answer("", "", 0, "It is not llama.cpp: its --help does not list --ctx-size.", "")
    identity = Identity(version_of(version.stdout + version.stderr), known.flags, known.switches)
    answers.keep(
        "engines",
        (*key, word),
        {"version": identity.version, "flags": sorted(known.flags), "switches": sorted(known.switches)},
    )
    return identity


def in_parallel(commands: Sequence[Sequence[str]], limit_s: float) -> list[Answer]:
    """Run programs side by side; the answers in the order of the commands."""
    found: dict[int, Answer] = {}

    def work(index: int, argv: Sequence[str]) -> None:
        found[index] = ask(argv, limit_s)

    threads = [threading.Thread(target=work, args=pair, daemon=True) for pair in enumerate(commands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[index] for index in range(len(commands))]


def version_of(text: str) -> str:
    """The version as llama.cpp prints it: `0.5.0-dev (0c1e570)`, or `b4567 (abcdef0)` of the time before it had one."""
    line = next((line for line in text.splitlines() if line.startswith("version:")), "")
    words = line.removeprefix("version:").replace("(", " ").replace(")", " ").replace(",", " ").split()
    if not words:
        return "unknown"
    number = f"b{words[0]}" if words[0].isdigit() else words[0]
    commit = words[-1] if len(words) > 1 else ""
    return f"{number} ({commit})" if commit else number
