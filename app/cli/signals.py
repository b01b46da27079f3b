"""Ending cleanly: SIGINT, SIGTERM and SIGHUP cancel the main task, which stops what it started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any

from app.errors import ExitCode


def run_until_signal(main: Coroutine[Any, Any, int]) -> int:
    """Run `main` to its end; a signal cancels it once, and its clean-up is waited for.

    Returns:
        What `main` returns, or the code of the signal: 128 + its number.
    """
    received: list[int] = []

    async def guarded() -> int:
        task = asyncio.create_task(main)
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            if not received:
                task.cancel()
            received.append(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not received:
                raise
            return ExitCode(128 + received[0])

    return asyncio.run(guarded())


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP, taken as Ctrl-C is: what was started is ended on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    @staticmethod
    def number_of(error: KeyboardInterrupt) -> int:
        """The signal behind an interruption."""
        return error.number if isinstance(error, Ended) else int(signal.SIGINT)


def end_on_signals() -> None:
    """Have SIGTERM and SIGHUP raise `Ended` where the main thread is, as SIGINT raises KeyboardInterrupt."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Ended(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
