"""A child process that ends with us: started where no signal can slip between its start and the hold on it.

Python runs a signal's handler between two steps of the main thread. One that came after the child was started and
before the `try` that ends it would leave the child to itself; so signals wait for as long as a start takes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

KILL_AFTER_S = 10.0
"""make and ninja remove half-written files when they are asked to end; a killed one leaves them to be linked."""

_WAITING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Child = subprocess.Popen[str]


def engine_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment without what would change a llama.cpp's answer.

    With a debugger installed, an aborting ggml would attach it to itself first and take half a second for it.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_ARG_")}
    return kept | {"GGML_NO_BACKTRACE": "1"} | dict(extra or {})


class ChildOfOurs:
    """A child with pipes for its output, in a process group of its own; when the block is left, the group is gone.

    A class and not a generator: between a generator's `yield` and the block Python looks for signals once more.

    Args:
        argv: the command line.
        env: its whole environment; `None`: ours.
        joined: whether stderr goes to stdout.
        grace_s: seconds between SIGTERM and SIGKILL; 0: it is killed at once.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        joined: bool = False,
        grace_s: float = KILL_AFTER_S,
    ) -> None:
        self._argv = argv
        self._env = env
        self._joined = joined
        self._grace_s = grace_s
        self._child: Child | None = None

    def __enter__(self) -> Child:
        try:
            with signals_held():
                self._child = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT if self._joined else subprocess.PIPE,
                    text=True,
                    errors="replace",
                    env=self._env,
                    start_new_session=True,
                )
            return self._child
        except BaseException:
            self._end()
            raise

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            end_group(self._child, self._grace_s)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the block is done; elsewhere than in the main thread none arrive."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in _WAITING}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(signal.Signals(came[0]))


def kill_group(child: Child) -> None:
    """SIGKILL to the whole group, without waiting."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def end_group(child: Child, grace_s: float = KILL_AFTER_S) -> None:
    """TERM to the whole group, KILL to what is left of it after `grace_s`. Returns when the group is gone."""
    for number, limit_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_AFTER_S)):
        if limit_s == 0:
            continue
        deadline = time.monotonic() + limit_s
        try:
            os.killpg(child.pid, number)
            while time.monotonic() < deadline:
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(0.02)
        except ProcessLookupError:
            child.wait()
            return
