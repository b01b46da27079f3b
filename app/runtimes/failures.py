"""Why a llama.cpp process failed, from its last lines and its exit code: the kind, one sentence, and what to do."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.runtimes.memory_failures import memory_failure

_PREFIX = re.compile(r"^\d+\.\d\d\.\d{3}\.\d{3} [A-Z] ")
"""Time and level, which current versions put before each line."""

_FAILURE_WORDS = re.compile(r"error|fail|abort|assert|invalid|couldn't|cannot|unable", re.IGNORECASE)


Kind = Literal[
    "memory", "oom-killer", "killed", "option", "device", "model", "driver", "port", "instruction", "library", "remote",
    "crash", "stopped", "unknown",
]  # fmt: skip
"""`memory`: an allocation was refused; `oom-killer`: the kernel killed it for want of memory; `killed`: another program
did; `driver`: a GPU or its driver went away; `remote`: another machine did; `instruction`: the CPU or GPU lacks one;
`stopped`: somebody asked it to."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an engine ended."""

    kind: Kind
    reason: str
    """One sentence."""
    hint: str = ""
    """What to do about it; may be empty."""


@dataclass(frozen=True, slots=True)
class _Cause:
    """A line to look for, what it means, and what to do."""

    kind: Kind
    pattern: re.Pattern[str]
    reason: str
    """With `{1}`, `{2}` for the groups of the pattern."""
    hint: str

    def sentence(self, match: re.Match[str]) -> str:
        return self.reason.format(match[0], *match.groups(""))


def _cause(kind: Kind, pattern: str, reason: str, hint: str) -> _Cause:
    return _Cause(kind, re.compile(pattern), reason, hint)


_REBUILD = "build it on this machine with `moetune runtime build`."
_SMALLER = "Plan again with a shorter context, a smaller ubatch or KV type, or a larger reserve."
_CHANGED = "Plan again: the engine's devices changed since this plan was made."
_LOG = "The engine's log has the details."
_NEWER = "A newer llama.cpp may: build one with `moetune runtime build`."
_GPU_LOST = (
    "See the kernel's log (dmesg) for Xid or amdgpu lines; if it comes again, restart the machine or the driver."
)

_CAUSES = (
    _cause(
        "library",
        r"error while loading shared libraries: (\S+):",
        "The engine needs the shared library {1}, which is not installed.",
        "Install the package that has it, or " + _REBUILD,
    ),
    _cause(
        "remote",
        r"Failed to connect to (\S+)",
        "No RPC server answers at {1}.",
        "Start `ggml-rpc-server -H HOST -p PORT` there, or take it out of --rpc.",
    ),
    _cause(
        "remote",
        r"RPC (?:handshake failed|server version mismatch)(?: for (\S+))?",
        "An RPC server speaks another version of the protocol {1}.",
        "Run the ggml-rpc-server of the same llama.cpp version on every machine.",
    ),
    _cause(
        "remote",
        r"Remote RPC server crashed or returned malformed response",
        "An RPC server went away.",
        "Look at that server's own output, then start it again.",
    ),
    _cause(
        "port",
        r"couldn't bind HTTP server socket, hostname: (\S+), port: (\d+)",
        "The engine could not listen on {1}:{2}: another program has that port.",
        "Choose another with --port.",
    ),
    _cause(
        "model",
        r"unknown model architecture: '([^']*)'",
        "The engine does not know the model's architecture '{1}'.",
        _NEWER,
    ),
    _cause(
        "option",
        r"error: invalid argument: (\S+)",
        "The engine does not know the option {1}.",
        _NEWER,
    ),
    _cause(
        "device",
        r'error while handling argument "-ot": unknown buffer type',
        "The engine has no buffer type of the name that the plan's -ot gives.",
        _CHANGED,
    ),
    _cause(
        "driver",
        r"(?:failed to initialize (?:CUDA|ROCm)|failed to initialize \S+ backend): (.+)",
        "The GPU's driver cannot be used: {1}.",
        "See whether the driver is loaded and as new as the engine needs: `moetune doctor`.",
    ),
    _cause("device", r"invalid device: (\S+)", "The engine has no device {1}.", _CHANGED),
    _cause("option", r'error while handling argument "([^"]+)": (.+)', "The engine refused {1}: {2}.", _NEWER),
    _cause(
        "model",
        r"tensor '([^']+)' data is not within the file bounds",
        "The model file is incomplete: the data of {1} lies past its end.",
        "Download it again, or finish the download.",
    ),
    _cause(
        "model",
        r"failed to open GGUF file '([^']+)' \(([^)]+)\)",
        "The engine could not open {1}: {2}.",
        "Check the path and who may read it.",
    ),
    _cause(
        "model",
        r"gguf_init_from_\w+: failed to read|invalid magic characters",
        "The model file is damaged, incomplete, or no GGUF file.",
        "Download it again.",
    ),
    _cause("model", r"missing tensor '([^']+)'", "The model file lacks the tensor {1}.", _NEWER),
    _cause(
        "driver",
        r"ErrorDeviceLost|vk::DeviceLostError|UR_RESULT_ERROR_DEVICE_LOST",
        "The GPU was lost: its driver reset it, or it hung.",
        _GPU_LOST,
    ),
    _cause(
        "driver",
        r"HW Exception by GPU (node-\d+).*GPU Hang|Memory access fault by GPU (node-\d+)",
        "The GPU hung or read a wrong address, and its driver gave it up.",
        _GPU_LOST,
    ),
    _cause(
        "instruction",
        r"(CUDA|ROCm|HIP) error: (?:invalid device function|no kernel image is available)",
        "The engine has no code for this GPU: its {1} part was built for others.",
        "Build it on this machine with `moetune runtime build`.",
    ),
    _cause(
        "driver",
        r"(CUDA|ROCm|HIP|MUSA) error: (.+)",
        "The GPU or its driver failed: {1} says '{2}'.",
        _GPU_LOST,
    ),
    _cause("crash", r"GGML_ASSERT\((.+)\) failed", "An assertion of llama.cpp failed: {1}.", _LOG),
    _cause("crash", r"^\S+\.(?:cpp|c|cu|h):\d+: (.+)", "llama.cpp gave up: {1}.", _LOG),
)
"""Most telling first: the log of a failed load holds several of them, the cause above its consequences."""

_SIGNALS = {
    signal.SIGILL: Failure(
        "instruction",
        "The engine uses an instruction that this CPU does not have: it was built for another machine.",
        "Build it on this machine with `moetune runtime build`.",
    ),
    signal.SIGSEGV: Failure("crash", "The engine crashed (segmentation fault).", _LOG),
    signal.SIGBUS: Failure(
        "model",
        "The engine crashed reading memory (bus error): the model file was cut short, or its disk failed.",
        "Check the model file.",
    ),
    signal.SIGABRT: Failure("crash", "The engine aborted.", _LOG),
    signal.SIGKILL: Failure(
        "oom-killer",
        "The engine was killed (SIGKILL), probably out of memory.",
        "See `dmesg | grep -i oom`; plan again with a larger reserve.",
    ),
    signal.SIGXFSZ: Failure("crash", "The engine wrote a file that is larger than is allowed (ulimit -f).", _LOG),
    signal.SIGTERM: Failure("stopped", "The engine was asked to stop from outside."),
}


def classify(lines: Sequence[str], exit_code: int | None) -> Failure:
    """Say why an engine failed, and what to do.

    Args:
        lines: the last lines of its output, oldest first.
        exit_code: as `subprocess` gives it, minus the number of the signal that ended it; 128 plus it from a shell;
            `None`: it still runs, or nobody knows.
    """
    clean = [_PREFIX.sub("", line.rstrip()) for line in lines]
    killed_by = _signal(exit_code)
    if killed_by in _UNSPOKEN:
        return _SIGNALS[killed_by]
    if (refused := memory_failure(clean)) is not None:
        return Failure("memory", refused.sentence, _SMALLER)
    for cause in _CAUSES:
        for line in clean:
            if match := cause.pattern.search(line):
                return Failure(cause.kind, cause.sentence(match).replace(" .", "."), cause.hint)
    if killed_by is not None:
        return _SIGNALS.get(killed_by) or Failure("crash", f"The engine was ended by the signal {killed_by.name}.")
    said = next((line.strip() for line in reversed(clean) if _FAILURE_WORDS.search(line)), "")
    if said:
        return Failure("unknown", f"The engine failed; it said: {said[:200]}", _LOG)
    if exit_code is None:
        return Failure("unknown", "The engine gave no reason.", _LOG)
    if exit_code == 0:
        return Failure("unknown", "The engine ended by itself, without an error.", _LOG)
    return Failure("unknown", f"The engine exited with code {exit_code} and gave no reason.", _LOG)


def explain_failure(lines: Sequence[str], exit_code: int | None) -> tuple[str, str]:
    """Reason and hint of `classify`, a sentence each; the hint may be empty."""
    failure = classify(lines, exit_code)
    return failure.reason, failure.hint


_UNSPOKEN = (signal.SIGKILL, signal.SIGILL, signal.SIGTERM)
"""Who ends by one of these had no time for a last word: what its log holds is about something else."""


def _signal(exit_code: int | None) -> signal.Signals | None:
    """The signal that an exit code stands for."""
    if exit_code is None:
        return None
    number = -exit_code if exit_code < 0 else exit_code - 128 if exit_code > 128 else 0
    try:
        return signal.Signals(number) if number else None
    except ValueError:
        return None
