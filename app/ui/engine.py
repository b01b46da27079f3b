"""The engine as the UI holds it: one supervisor, one sampler, one prompt at a time.

It owns what must outlive any screen. Textual cancels workers on exit before they can clean up, so a start is a plain
asyncio task, and `App.on_unmount` awaits `close()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import deque
from typing import TYPE_CHECKING

from app.errors import EngineFailedError, MoetuneError
from app.ui.messages import AnswerEnded, EngineChanged, EngineRefused, SampleTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual.message import Message

    from app.jobs.planning import PlannedRun
    from app.launch.ownership import EngineRecord
    from app.launch.supervisor import EngineStatus, Supervisor
    from app.telemetry.sample import Sample, Timings
    from app.telemetry.sampler import Sampler
    from app.ui.backend import Backend
    from detectors.facts import Machine

LOG_LINES = 2000
"""How many lines of the engine's log are kept for the screen; the whole log is in its file."""
HISTORY_SAMPLES = 2400
"""20 minutes at 2 Hz: more than the widest chart shows."""

_TIMESTAMP = re.compile(r"^[0-9][0-9.:]* ")

LIVE_STATES = frozenset({"STARTING", "READY", "STOPPING"})


class EngineSession:
    """Starts, watches, prompts and stops one engine.

    Args:
        backend: the edges to the rest of the program.
        post: posts a message to the app; safe from any thread.
    """

    def __init__(self, backend: Backend, post: Callable[[Message], object]) -> None:
        self.backend = backend
        self._post = post
        self._supervisor: Supervisor | None = None
        self._sampler: Sampler | None = None
        self._starting: asyncio.Task[None] | None = None
        self._cancel: threading.Event | None = None
        self.stop_asked = False
        """Whether the last engine's end was wished for."""
        self.machine: Machine | None = None
        """Whose devices are sampled."""
        self.planned: PlannedRun | None = None
        """What runs, or ran last; `None` for an adopted engine."""
        self.label = ""
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self.log_count = 0
        """Lines ever received: a screen knows from it which of `log` are new to it."""
        self.history: deque[Sample] = deque(maxlen=HISTORY_SAMPLES)
        self.finished: list[Timings] = []
        """What the engine measured of each answer since its start."""
        self._last_message = ""
        self.answer: deque[str] = deque()
        """Pieces of the answer that no screen has drawn yet."""

    @property
    def status(self) -> EngineStatus | None:
        """The supervisor's status; `None` before the first start."""
        return self._supervisor.status if self._supervisor else None

    @property
    def is_live(self) -> bool:
        """Whether there is an engine that could be stopped."""
        return self.status is not None and self.status.state.name in LIVE_STATES

    @property
    def is_generating(self) -> bool:
        """Whether a prompt is being answered."""
        return self._cancel is not None

    def start(self, planned: PlannedRun) -> None:
        """Begin to start the engine of a plan; the outcome comes as messages."""
        self.planned = planned
        self.machine = planned.machine
        self.label = planned.plan.model_name
        self._begin(self._supervise(lambda supervisor: self._launch(planned, supervisor)))

    async def _launch(self, planned: PlannedRun, supervisor: Supervisor) -> None:
        self.planned = await self.backend.launch(planned, supervisor)

    def adopt(self, record: EngineRecord) -> None:
        """Begin to take over an engine that lost its moetune."""
        self.planned = None
        self.label = record.label
        self._begin(self._supervise(lambda supervisor: supervisor.adopt(record)))

    def _begin(self, coroutine: Coroutine[object, object, None]) -> None:
        self.log.clear()
        self.log_count = 0
        self.history.clear()
        self.stop_asked = False
        self._starting = asyncio.create_task(coroutine)

    async def _supervise(self, run: Callable[[Supervisor], Coroutine[object, object, None]]) -> None:
        if self._supervisor is None:
            self._supervisor = self.backend.supervisor(self._on_state, self._on_line)
        try:
            await run(self._supervisor)
        except MoetuneError as error:
            if not self.stop_asked:
                self._post(EngineRefused(error))
        except OSError as error:
            self._post(EngineRefused(EngineFailedError(f"The engine could not be started: {error}.")))

    def _on_state(self, status: EngineStatus) -> None:
        if status.state.name in LIVE_STATES and self._sampler is None:
            self._sampler = self.backend.sampler(self.machine, self._on_sample)
            self._sampler.start()
        if self._sampler is not None:
            self._sampler.watch(status.url, status.pid)
        if status.state.name == "EXITED":
            self._drop_sampler()
        self._post(EngineChanged(status))

    def _on_sample(self, sample: Sample) -> None:
        self._post(SampleTaken(sample))

    def _on_line(self, line: str) -> None:
        # an idle llama-server repeats itself at every look at its slots: once is enough on a screen
        message = _TIMESTAMP.sub("", line)
        if message and message == self._last_message:
            return
        self._last_message = message
        self.log.append(line)
        self.log_count += 1

    def _drop_sampler(self) -> None:
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            # its thread may be inside a slow read: nobody on the event loop waits for that
            threading.Thread(target=sampler.stop, name="stop-sampler", daemon=True).start()

    def generate(self, prompt: str) -> None:
        """Have the engine answer `prompt`. Blocks until it has: run it in a thread worker.

        The text goes to `answer`; `AnswerEnded` is posted at the end.
        """
        status = self.status
        if self._cancel is not None or status is None or status.url is None:
            return
        cancel = self._cancel = threading.Event()
        try:
            timings = self.backend.chat(status.url, prompt, self.answer.append, cancel)
        except MoetuneError as error:
            self._cancel = None
            self._post(AnswerEnded(None, None if cancel.is_set() else error, cancelled=cancel.is_set()))
        else:
            self._cancel = None
            self.finished.append(timings)
            self._post(AnswerEnded(timings, cancelled=cancel.is_set()))
        finally:
            self._cancel = None

    def cancel(self) -> None:
        """End the running generation; no effect without one."""
        if self._cancel is not None:
            self._cancel.set()

    async def stop(self) -> None:
        """Stop the engine and wait for its end. Without an engine nothing happens."""
        self.cancel()
        if self._supervisor is not None:
            self.stop_asked = self.stop_asked or self.is_live
            await self._supervisor.stop()
        if self._starting is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._starting
            self._starting = None

    async def close(self) -> None:
        """Stop everything; nothing is left running."""
        await self.stop()
        self._drop_sampler()
