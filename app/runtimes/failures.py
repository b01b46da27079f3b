"""Why a llama.cpp process failed, from its last lines and its exit code: one sentence, and what to do."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

_PREFIX = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} [A-Z] ")
"""Time and level, which current versions put before each line."""

_FAILURE_WORDS = re.compile(r"error|fail|abort|assert|invalid|couldn't|cannot|unable", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Cause:
    """A line to look for, what it means, and what to do."""

    pattern: re.Pattern[str]
    reason: str
    """With `{1}`, `{2}` for the groups of the pattern."""
    hint: str

    def sentence(self, match: re.Match[str]) -> str:
        return self.reason.format(match[0], *match.groups(""))


def _cause(pattern: str, reason: str, hint: str) -> _Cause:
    return _Cause(re.compile(pattern), reason, hint)


_REBUILD = "build it on this machine with `moetune runtime build`."
_SMALLER = "Plan again with a shorter context, a smaller ubatch or KV type, or a larger reserve."
_CHANGED = "Plan again: the engine's devices changed since this plan was made."
_LOG = "The engine's log has the details."
_NEWER = "A newer llama.cpp may: build one with `moetune runtime build`."
_OUT_OF_MEMORY = (
    r"(?:cuda|hip)Malloc failed: out of memory|(?:CUDA|ROCm|HIP) error: out of memory|ErrorOutOfDeviceMemory"
)

_CAUSES = (
    _cause(
        r"error while loading shared libraries: (\S+):",
        "The engine needs the shared library {1}, which is not installed.",
        "Install the package that has it, or " + _REBUILD,
    ),
    _cause(
        r"Failed to connect to (\S+)",
        "No RPC server answers at {1}.",
        "Start `ggml-rpc-server -H HOST -p PORT` there, or take it out of --rpc.",
    ),
    _cause(
        r"RPC (?:handshake failed|server version mismatch)(?: for (\S+))?",
        "An RPC server speaks another version of the protocol {1}.",
        "Run the ggml-rpc-server of the same llama.cpp version on every machine.",
    ),
    _cause(
        r"Remote RPC server crashed or returned malformed response",
        "An RPC server went away.",
        "Look at that server's own output, then start it again.",
    ),
    _cause(
        r"couldn't bind HTTP server socket, hostname: (\S+), port: (\d+)",
        "The engine could not listen on {1}:{2}: another program has that port.",
        "Choose another with --port.",
    ),
    _cause(
        r"unknown model architecture: '([^']*)'",
        "The engine does not know the model's architecture '{1}'.",
        _NEWER,
    ),
    _cause(
        r"error: invalid argument: (\S+)",
        "The engine does not know the option {1}.",
        _NEWER,
    ),
    _cause(
        r'error while handling argument "-ot": unknown buffer type',
        "The engine has no buffer type of the name that the plan's -ot gives.",
        _CHANGED,
    ),
    _cause(r"invalid device: (\S+)", "The engine has no device {1}.", _CHANGED),
    _cause(r'error while handling argument "([^"]+)": (.+)', "The engine refused {1}: {2}.", _NEWER),
    _cause(r"unable to allocate (\S+) buffer", "The weights did not fit into the free memory of {1}.", _SMALLER),
    _cause(
        r"failed to allocate buffer for (?:kv|rs) cache",
        "There was not enough free memory left for the KV cache.",
        _SMALLER,
    ),
    _cause(
        r"failed to allocate compute (?:pp |tg )?buffers",
        "There was not enough free memory left for the compute buffers.",
        _SMALLER,
    ),
    _cause(_OUT_OF_MEMORY, "A device ran out of memory.", _SMALLER),
    _cause(
        r"std::bad_alloc|Cannot allocate memory|insufficient memory \(attempted",
        "The machine ran out of memory.",
        _SMALLER,
    ),
    _cause(
        r"tensor '([^']+)' data is not within the file bounds",
        "The model file is incomplete: the data of {1} lies past its end.",
        "Download it again, or finish the download.",
    ),
    _cause(
        r"failed to open GGUF file '([^']+)' \(([^)]+)\)",
        "The engine could not open {1}: {2}.",
        "Check the path and who may read it.",
    ),
    _cause(
        r"gguf_init_from_\w+: failed to read|invalid magic characters",
        "The model file is damaged, incomplete, or no GGUF file.",
        "Download it again.",
    ),
    _cause(r"missing tensor '([^']+)'", "The model file lacks the tensor {1}.", _NEWER),
    _cause(r"GGML_ASSERT\((.+)\) failed", "An assertion of llama.cpp failed: {1}.", _LOG),
    _cause(r"^\S+\.(?:cpp|c|cu|h):\d+: (.+)", "llama.cpp gave up: {1}.", _LOG),
)
"""Most telling first: the log of a failed load holds several of them, the cause above its consequences."""

_SIGNALS = {
    signal.SIGILL: (
        "The engine uses an instruction that this CPU does not have: it was built for another machine.",
        "Build it on this machine with `moetune runtime build`.",
    ),
    signal.SIGSEGV: ("The engine crashed (segmentation fault).", _LOG),
    signal.SIGBUS: (
        "The engine crashed reading memory (bus error): the model file was cut short, or its disk failed.",
        "Check the model file.",
    ),
    signal.SIGABRT: ("The engine aborted.", _LOG),
    signal.SIGKILL: (
        "The engine was killed from outside, most likely because the machine ran out of memory.",
        "See `dmesg | grep -i oom`; plan again with a larger reserve.",
    ),
    signal.SIGTERM: ("The engine was asked to stop from outside.", ""),
}


def explain_failure(lines: Sequence[str], exit_code: int | None) -> tuple[str, str]:
    """Say in one sentence why an engine failed, and what to do.

    Args:
        lines: the last lines of its output, oldest first.
        exit_code: as `subprocess` gives it, minus the number of the signal that ended it; 128 plus it from a shell;
            `None`: it still runs, or nobody knows.

    Returns:
        The reason and a hint, a sentence each; the hint may be empty.
    """
    clean = [_PREFIX.sub("", line.rstrip()) for line in lines]
    for cause in _CAUSES:
        for line in clean:
            if match := cause.pattern.search(line):
                return cause.sentence(match).replace(" .", "."), cause.hint
    if (killed_by := _signal(exit_code)) is not None:
        return _SIGNALS.get(killed_by) or (f"The engine was ended by the signal {killed_by.name}.", "")
    said = next((line.strip() for line in reversed(clean) if _FAILURE_WORDS.search(line)), "")
    if said:
        return f"The engine failed; it said: {said[:200]}", _LOG
    if exit_code is None:
        return "The engine gave no reason.", _LOG
    if exit_code == 0:
        return "The engine ended by itself, without an error.", _LOG
    return f"The engine exited with code {exit_code} and gave no reason.", _LOG


def _signal(exit_code: int | None) -> signal.Signals | None:
    """The signal that an exit code stands for."""
    if exit_code is None:
        return None
    number = -exit_code if exit_code < 0 else exit_code - 128 if exit_code > 128 else 0
    try:
        return signal.Signals(number) if number else None
    except ValueError:
        return None
