"""Other programs' load is seen, ours and the engine's is not."""

from __future__ import annotations

import subprocess
import sys
import time

from app.telemetry.contention import Contention

BUSY = [sys.executable, "-c", "while True: pass"]


def burn(seconds: float) -> None:
    """Use the processor ourselves."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_stranger_is_counted_and_the_engine_is_not() -> None:
    process = subprocess.Popen(BUSY)
    try:
        as_stranger, as_engine = Contention(None), Contention(process.pid)
        burn(0.6)
        stranger, engine = as_stranger.other_cores(), as_engine.other_cores()
    finally:
        process.kill()
        process.wait()
    assert stranger is not None
    assert engine is not None
    assert stranger - engine > 0.2, "the busy process runs beside us on any machine with half a core to spare"


def test_an_engine_that_is_gone_leaves_the_answer_open() -> None:
    process = subprocess.Popen(BUSY)
    watched = Contention(process.pid)
    process.kill()
    process.wait()
    assert watched.other_cores() is None
