"""A fake engine that runs for the length of a block."""

from __future__ import annotations

import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.launch.engines import fake, wait_until


@dataclass(frozen=True)
class Running:
    """Where the engine is, and its process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid


@contextmanager
def running(folder: Path, *options: str | float) -> Iterator[Running]:
    """Start a fake engine, wait until it listens, and end it afterwards."""
    command = fake(*options)
    log = folder / "engine.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command.argv, stderr=output)
    try:
        wait_until(lambda: _listens(command.url))
        yield Running(command.url, process, log)
    finally:
        process.kill()
        process.wait()


def _listens(url: str) -> bool:
    try:
        urllib.request.urlopen(f"{url}/health", timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True
