"""Ending cleanly: SIGINT, SIGTERM and SIGHUP cancel the main task, which stops what it started."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
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
