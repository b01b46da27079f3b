"""Commands that start the fake engine, and what is asserted of real processes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from app.runtimes.base import Command
from tests.ports import free_port

SCRIPT = Path(__file__).with_name("fake_engine.py")


def fake(*options: str | float | Path, env: dict[str, str] | None = None, unset: tuple[str, ...] = ()) -> Command:
    """A command for the fake engine on a port of its own."""
    port = free_port()
    argv = (sys.executable, "-S", str(SCRIPT), "--port", str(port), *map(str, options))
    return Command(argv=argv, env=env or {}, unset=unset, url=f"http://127.0.0.1:{port}")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie of somebody else's does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def our_children() -> list[psutil.Process]:
    """Every child of this process, zombies included."""
    return psutil.Process().children(recursive=True)


def started_by(command: Command) -> list[int]:
    """Pids of all processes that run the command line; found in /proc, whoever their parent is."""
    port = command.argv[command.argv.index("--port") + 1]
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = process.info["cmdline"] or []
        if str(SCRIPT) in line and port in line and alive(process.info["pid"]):
            found.append(int(process.info["pid"]))
    return found


def wait_until(fact: Callable[[], object], limit_s: float = 10.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + limit_s
    while not fact():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


async def happened(fact: Callable[[], object], limit_s: float = 10.0) -> None:
    """`wait_until` in an event loop."""
    deadline = time.monotonic() + limit_s
    while not fact():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)
