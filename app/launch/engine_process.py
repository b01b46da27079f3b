"""One engine's process: started or adopted, watched, ended."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import EngineFailedError
from app.launch.engine_log import LogTail, create_log, unwritable
from app.launch.exit_reason import explain_exit, oom_kills
from app.launch.ownership import Claim, EngineRecord, boot_id, owned_by_us
from app.launch.process import end_group, group_is_alive, identify, is_alive
from app.paths import state_dir
from app.runtimes.base import Command

if TYPE_CHECKING:
    from app.runtimes.failures import Failure


class EngineProcess:
    """An engine that runs, child of ours or adopted.

    Args:
        record: what it is.
        claim: our right to own it; given up when the engine is gone.
        child: the handle to reap it by; `None` if it is not our child.
        log_offset: where in its log its own output begins, in bytes.
    """

    def __init__(
        self, record: EngineRecord, claim: Claim, child: subprocess.Popen[bytes] | None, log_offset: int = 0
    ) -> None:
        self.record = record
        self._claim = claim
        self._child = child
        self.log = LogTail(Path(record.log_path), log_offset)
        self._oom_kills = oom_kills()

    def is_running(self) -> bool:
        """Whether the engine itself lives; reaps it if not."""
        return is_alive(self.record.engine) if self._child is None else self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """As `Popen.returncode`; `None` while it runs and for an engine that is not our child."""
        return None if self._child is None else self._child.returncode

    def end(self, grace_s: float) -> Iterator[float]:
        """End it and all of its group, reaping on the way; see `end_group`."""
        for pause_s in end_group(self.record.engine, grace_s):
            yield pause_s
            self.is_running()
        self.is_running()

    def end_blocking(self, grace_s: float) -> None:
        """`end` where no event loop is left to wait in."""
        for pause_s in self.end(grace_s):
            time.sleep(pause_s)

    def explain_exit(self, lines: list[str]) -> Failure:
        """Why it ended, given the end of its log."""
        return explain_exit(lines, self.exit_code, self._oom_kills)

    def give_up(self) -> bool:
        """Take it off the record and let others start engines. `False`: it lives on, and stays on record."""
        gone = not group_is_alive(self.record.engine)
        if gone:
            self._claim.forget()
        self._claim.release()
        return gone


def spawn(command: Command, claim: Claim, label: str, facts: dict[str, object]) -> EngineProcess:
    """Start an engine in a session of its own, with its output going to a new log, and put it on record.

    Raises:
        EngineFailedError: the program cannot be executed.
        MoetuneError: its log or its record cannot be written; nothing is left running.
    """
    environment = {key: value for key, value in os.environ.items() if key not in command.unset}
    path = create_log(label, command.argv)
    header_bytes = path.stat().st_size
    with path.open("ab") as log:
        try:
            child = subprocess.Popen(
                command.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment | command.env,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise EngineFailedError(
                f"{command.argv[0]} cannot be started: {getattr(error, 'strerror', None) or error}.",
                hint="See which engines there are with: moetune runtime list",
            ) from error
    engine = identify(child.pid)  # not reaped yet, so it is there even if it has died at once
    record = EngineRecord(
        pid=child.pid,
        start_ticks=engine.start_ticks if engine else 0,
        **owned_by_us(),
        label=label,
        argv=command.argv,
        url=command.url,
        log_path=str(path),
        started_at=datetime.now().astimezone().isoformat(timespec="seconds"),
        facts=facts,
        boot_id=boot_id(),
    )
    process = EngineProcess(record, claim, child, header_bytes)
    try:
        claim.write(record)
    except BaseException as error:
        process.end_blocking(grace_s=0.0)
        if isinstance(error, OSError):
            raise unwritable(state_dir(), error) from error
        raise
    return process
