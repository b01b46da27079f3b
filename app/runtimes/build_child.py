"""One step of a build as a child process: its lines to a log, its progress to the caller, its end with ours."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from app.runtimes.child import Child, ChildOfOurs, end_group

_STEPS = re.compile(r"^\[\s*(\d+)/(\d+)\]")
"""Ninja's progress."""
_PERCENT = re.compile(r"^\[\s*(\d+)%\]")
"""CMake's progress with make."""

TAIL_LINES = 400


def progress_of(line: str) -> tuple[int, int] | None:
    """Steps done and steps in all that a line of ninja or make tells of."""
    if match := _STEPS.match(line):
        return int(match[1]), int(match[2])
    if match := _PERCENT.match(line):
        return int(match[1]), 100
    return None


def run_step(
    argv: Sequence[str],
    *,
    log: TextIO,
    on_line: Callable[[str], None],
    cancelled: threading.Event | None = None,
) -> tuple[int, list[str]]:
    """Run one step to its end.

    The child has a process group of its own, which is ended when `cancelled` is set or when this call is left by an
    exception such as Ctrl-C: no compiler outlives it.

    Returns:
        The exit code and the last lines.

    Raises:
        OSError: the program cannot be started.
    """
    log.write(f"$ {' '.join(argv)}\n")
    log.flush()
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    with ChildOfOurs(argv, joined=True) as child:
        ended = threading.Event()
        if cancelled is not None:
            threading.Thread(target=_end_on, args=(cancelled, ended, child), daemon=True).start()
        try:
            assert child.stdout is not None
            for line in child.stdout:
                log.write(line)
                tail.append(line.rstrip("\n"))
                on_line(tail[-1])
            return child.wait(), list(tail)
        finally:
            ended.set()
            log.flush()


def _end_on(cancelled: threading.Event, ended: threading.Event, child: Child) -> None:
    while not ended.is_set():
        if cancelled.wait(0.2):
            end_group(child)
            return


_REASONS = (
    (re.compile(r"No space left on device"), "The disk is full.", "Free about 1 GB, then build again."),
    (
        re.compile(r"Killed signal terminated program|virtual memory exhausted|cannot allocate memory"),
        "A compiler ran out of memory.",
        "Build again with --jobs 1; it goes on where it stopped.",
    ),
    (
        re.compile(r"No module named pip\b"),
        "This Python has no pip, which fetches the source.",
        "Run `python -m ensurepip`, or install pip (apt: python3-pip, dnf: python3-pip, pacman: python-pip).",
    ),
    (
        re.compile(
            r"No matching distribution|Could not find a version|Temporary failure in name|Network is unreachable"
        ),
        "pip could not fetch the source.",
        "Check the network and pip's index (`pip config list`), then build again.",
    ),
)


def explain_build_failure(lines: Sequence[str], log_path: Path) -> tuple[str, str]:
    """Why a step failed, from its last lines: a sentence, and what to do."""
    for pattern, reason, hint in _REASONS:
        if any(pattern.search(line) for line in lines):
            return reason, hint
    said = next((line.strip() for line in lines if re.search(r"\b(?:fatal )?error\b", line, re.IGNORECASE)), "")
    return (f"It said: {said[:200]}" if said else "It gave no reason."), f"The whole log: {log_path}"
