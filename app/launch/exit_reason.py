"""Why an engine ended, in a sentence for a person."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.runtimes.failures import Failure

MEMORY_HINT = "Choose a shorter context, fewer sequences or a smaller model, or close what else uses memory."


def oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory since it booted; `None`: it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def explain_exit(lines: Sequence[str], exit_code: int | None, oom_kills_before: int | None) -> Failure:
    """Why an engine ended without being asked to.

    Args:
        lines: the end of its log.
        exit_code: as `Popen.returncode`: negative for a signal; `None` where it was not our child.
        oom_kills_before: what `oom_kills` said when it started.
    """
    if exit_code == -signal.SIGKILL:
        return _killed(oom_kills_before, oom_kills())
    from app.runtimes.load_log import classify

    failure = classify(lines, exit_code)
    return replace(failure, reason=f"The engine ended unasked. {failure.reason}") if exit_code is None else failure


def _killed(before: int | None, now: int | None) -> Failure:
    from app.runtimes.load_log import Failure

    if now is None or before is None:
        return Failure("oom-killer", "The engine was killed (SIGKILL), probably out of memory.", MEMORY_HINT)
    if now > before:
        return Failure("oom-killer", "The engine was killed by the kernel: out of memory.", MEMORY_HINT)
    return Failure(
        "killed",
        "The engine was killed (SIGKILL) by another program: the kernel killed nothing for want of memory meanwhile.",
        "systemd-oomd and earlyoom do so when memory runs short, and say so in the journal.",
    )
