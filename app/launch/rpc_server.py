"""Keeps one `ggml-rpc-server` running: started again when it crashes, ended with its group, never left behind."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence

from app.errors import EngineFailedError
from app.launch.process import end_group, identify
from app.runtimes.failures import explain_failure

MOST_CRASHES = 5
"""In `CRASHES_WITHIN_S`: more say that it will not do better the next time."""
CRASHES_WITHIN_S = 60.0
GRACE_S = 3.0
_PAUSE_S = 0.5
_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 50


async def keep_serving(argv: Sequence[str], on_line: Callable[[str], None]) -> None:
    """Run the server until the task is cancelled; what it printed is passed on line by line.

    Raises:
        EngineFailedError: it cannot be started, or crashes again and again.
    """
    crashes: deque[float] = deque(maxlen=MOST_CRASHES)
    while True:
        reason = await _serve_once(argv, on_line)
        crashes.append(time.monotonic())
        if len(crashes) == MOST_CRASHES and crashes[-1] - crashes[0] < CRASHES_WITHIN_S:
            raise EngineFailedError(f"The RPC server ended {MOST_CRASHES} times in a minute. {reason}")
        on_line(f"The server ended. {reason} It is started again.")
        await asyncio.sleep(_PAUSE_S)


async def _serve_once(argv: Sequence[str], on_line: Callable[[str], None]) -> str:
    """Why it ended."""
    libc = ctypes.CDLL(None)

    def die_with_us() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))

    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A server whose client was killed would die of SIGPIPE; Python ignores that signal, and leaves it so.
            restore_signals=False,
            preexec_fn=die_with_us,
        )
    except OSError as error:
        raise EngineFailedError(f"{argv[0]} cannot be started: {error.strerror or error}.") from error
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    identity = identify(child.pid)
    try:
        assert child.stdout is not None
        while line := await child.stdout.readline():
            tail.append(line.decode(errors="replace").rstrip())
            on_line(tail[-1])
        return explain_failure(list(tail), await child.wait())[0]
    finally:
        if identity is not None:
            for pause_s in end_group(identity, GRACE_S):
                await asyncio.sleep(pause_s)
