"""Why an engine ended, in a sentence for a person."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path

MEMORY_HINT = "Choose a shorter context, fewer sequences or a smaller model, or close what else uses memory."


def oom_kills() -> int | None:
    """How many processes the kernel has killed for want of memory since it booted; `None`: it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def explain_exit(lines: Sequence[str], exit_code: int | None, oom_kills_before: int | None) -> tuple[str, str]:
    """Reason and hint for an engine that ended without being asked to.

    Args:
        lines: the end of its log.
        exit_code: as `Popen.returncode`: negative for a signal; `None` where it was not our child.
        oom_kills_before: what `oom_kills` said when it started.
    """
    if exit_code == -signal.SIGKILL:
        now = oom_kills()
        counted = now is not None and oom_kills_before is not None and now > oom_kills_before
        return f"The engine was killed (SIGKILL), {'' if counted else 'probably '}out of memory.", MEMORY_HINT
    from app.runtimes.load_log import explain_failure

    reason, hint = explain_failure(lines, exit_code)
    return f"The engine ended unasked. {reason}" if exit_code is None else reason, hint
