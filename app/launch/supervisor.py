"""Starts one engine, watches it, and ends it without a trace. Knows nothing of any user interface.

One task per engine watches it from its start until the last process of its group is gone; `start`, `stop` and `exited`
only ask and wait. So stopping is idempotent, safe from several places at once, and never cut short: when the event
loop itself is torn down, the task ends the engine blockingly, and an exit of the interpreter does the same.
"""

from __future__ import annotations

import asyncio
import atexit
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

from app.errors import BusyError, EngineFailedError
from app.launch.engine_process import EngineProcess, spawn
from app.launch.health import HEALTH_TIMEOUT_S, is_healthy
from app.launch.ownership import Claim, EngineRecord
from app.launch.port import check_port
from app.launch.process import group_is_alive, is_frozen
from app.runtimes.base import Command

TAIL_LINES = 2000
_POLL_S = 0.1
"""How often the log and the process are looked at."""
_HEALTH_POLL_S = 0.1

FROZEN = "It is frozen: something has stopped it (SIGSTOP, a debugger)."
"""The reason of a status while the engine lives and does not run."""

_T = TypeVar("_T")


class EngineState(Enum):
    """Where an engine is in its life."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """What is known of the engine right now."""

    state: EngineState
    reason: str = ""
    """Why it exited, or why it stands still; one sentence."""
    hint: str = ""
    """What to do about that."""
    pid: int | None = None
    url: str | None = None
    exit_code: int | None = None
    """As `Popen.returncode`: negative for a signal; `None` for an adopted engine."""
    kind: str = ""
    """What kind of failure ended it: one of `app.runtimes.failures.Kind`; empty where it was asked to end."""
    since: float = field(default_factory=time.monotonic)
    """Monotonic seconds."""


class EngineStoppedError(EngineFailedError):
    """Somebody stopped the engine while it was starting."""

    title = "The engine was stopped"


class Supervisor:
    """Owns at most one engine at a time; usable again after that one has ended.

    Args:
        on_state: called with every new status, in the event loop.
        on_line: called with every line of the engine's log, in the event loop.
        ready_timeout_s: how long an engine may take to load.
        grace_s: how long it gets between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        *,
        on_state: Callable[[EngineStatus], None] | None = None,
        on_line: Callable[[str], None] | None = None,
        ready_timeout_s: float = 600.0,
        grace_s: float = 5.0,
    ) -> None:
        self.status = EngineStatus(EngineState.IDLE)
        self.log_path: Path | None = None
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._on_state = on_state
        self._on_line = on_line
        self._ready_timeout_s = ready_timeout_s
        self._grace_s = grace_s
        self._process: EngineProcess | None = None
        self._task: asyncio.Task[None] | None = None
        self._asked = asyncio.Event()
        self._verdict = ("", "")

    async def start(self, command: Command, *, label: str, facts: dict[str, object] | None = None) -> None:
        """Start an engine and wait until it is ready. Cancelled or failed, it leaves no process behind.

        Raises:
            BusyError: an engine of ours runs already, or another moetune owns one.
            MoetuneError: its log or its record cannot be written.
            PortInUseError: another program has its port.
            EngineFailedError: it cannot be started, ended, or was not ready in time.
            EngineStoppedError: `stop` was called meanwhile.
        """
        claim = self._claim()
        try:
            claim.refuse_orphan()
            check_port(command.url)
            process = spawn(command, claim, label, facts or {})
        except BaseException:
            claim.release()
            raise
        await self._supervise(process)

    async def adopt(self, record: EngineRecord) -> None:
        """Own an engine that another moetune has left behind, and wait until it is ready.

        Raises:
            BusyError: another moetune owns it.
            EngineFailedError: it has ended, or does not answer in time.
        """
        claim = self._claim()
        try:
            if not group_is_alive(record.engine):
                raise EngineFailedError(f"The engine {record.label} (pid {record.pid}) has ended meanwhile.")
            process = EngineProcess(claim.adopt(record), claim, None)
        except BaseException:
            claim.release()
            raise
        await self._supervise(process)

    async def stop(self) -> EngineStatus:
        """End the engine and wait until all of its processes are gone. Does nothing if there is none."""
        self._asked.set()
        return await self.exited()

    async def exited(self) -> EngineStatus:
        """Wait for the engine's end, whatever brings it about; at once if there is none."""
        if self._task is not None:
            await asyncio.shield(self._task)
        return self.status

    def _claim(self) -> Claim:
        if self._task is not None and not self._task.done():
            raise BusyError("An engine is running already.", hint="Stop it first.")
        return Claim()

    async def _supervise(self, process: EngineProcess) -> None:
        self._process = process
        self._asked.clear()
        self._verdict = ("", "")
        self.tail.clear()
        self.log_path = Path(process.record.log_path)
        atexit.register(process.end_blocking, self._grace_s)
        self._task = asyncio.create_task(self._watch(process), name=f"engine {process.record.pid}")
        try:
            self._report(EngineState.STARTING)
            await self._until_ready(process.record.url, self._task)
        except BaseException:
            await self.stop()
            raise

    async def _until_ready(self, url: str, ended: asyncio.Task[None]) -> None:
        deadline = time.monotonic() + self._ready_timeout_s
        while not self._asked.is_set() and not ended.done():
            if time.monotonic() > deadline:
                frozen = f" {FROZEN}" if self.status.reason == FROZEN else ""
                self._verdict = (
                    f"The engine was not ready within {self._ready_timeout_s:g} s.{frozen}",
                    f"See its log: {self.log_path}",
                )
                self._asked.set()
                break
            probe = asyncio.create_task(is_healthy(url))
            await asyncio.wait({probe, ended}, timeout=HEALTH_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
            ready = probe.done() and probe.result()
            probe.cancel()
            if ready and not ended.done() and not self._asked.is_set():
                self._take_all()  # what it said of its load is there before anybody acts on it
                self._report(EngineState.READY)
                return
            await asyncio.wait({ended}, timeout=_HEALTH_POLL_S)
        stopped = self._asked.is_set() and not self._verdict[0]
        status = await self.exited()
        kind = EngineStoppedError if stopped else EngineFailedError
        raise kind(status.reason, hint=status.hint)

    async def _watch(self, process: EngineProcess) -> None:
        by_itself = False
        try:
            while process.is_running() and not self._asked.is_set():
                self._take(process.log.read())
                self._notice_frost(process)
                await _first_of(self._asked, _POLL_S)
            by_itself = not self._asked.is_set()
            if process.is_running():
                self._report(EngineState.STOPPING)
            for pause_s in process.end(self._grace_s):
                self._take(process.log.read())
                await asyncio.sleep(pause_s)
        finally:
            process.end_blocking(self._grace_s)  # nothing to do, unless we were cancelled: the loop is closing
            self._conclude(process, by_itself=by_itself)

    def _conclude(self, process: EngineProcess, *, by_itself: bool) -> None:
        self._take(process.log.finish())
        reason, hint = self._verdict
        kind = ""
        if by_itself:
            failure = process.explain_exit(list(self.tail))
            kind, reason = failure.kind, failure.reason
            hint = f"{failure.hint} Its log: {self.log_path}".strip()
        if not process.give_up():
            reason = f"The engine (pid {process.record.pid}) does not end, even by SIGKILL."
            hint = "Its driver may hang: see the kernel's log (dmesg)."
        atexit.unregister(process.end_blocking)
        self._report(EngineState.EXITED, reason or "The engine was stopped.", hint, kind)

    def _notice_frost(self, process: EngineProcess) -> None:
        """Tell that the engine was frozen, and that it goes on: its silence has another cause then."""
        frozen = is_frozen(process.record.engine)
        if frozen == (self.status.reason == FROZEN):
            return
        hint = f"`kill -CONT {process.record.pid}` lets it go on." if frozen else ""
        self._report(self.status.state, FROZEN if frozen else "", hint)

    def say(self, line: str) -> None:
        """Put a line of ours among the engine's, where whoever reads its log sees it."""
        _tell(self._on_line, line)

    def _take_all(self) -> None:
        if self._process is not None:
            self._take(self._process.log.read())

    def _take(self, lines: list[str]) -> None:
        self.tail.extend(lines)
        for line in lines:
            _tell(self._on_line, line)

    def _report(self, state: EngineState, reason: str = "", hint: str = "", kind: str = "") -> None:
        process = self._process
        assert process is not None
        code = process.exit_code if state is EngineState.EXITED else None
        self.status = EngineStatus(state, reason, hint, process.record.pid, process.record.url, code, kind)
        _tell(self._on_state, self.status)


async def _first_of(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return


def _tell(callback: Callable[[_T], None] | None, value: _T) -> None:
    if callback is None:
        return
    try:
        callback(value)
    except Exception as error:  # noqa: BLE001 - a listener's fault must not leave an engine unwatched
        context = {"message": "a listener of the supervisor failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
