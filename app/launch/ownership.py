"""Who owns the running engine: one moetune at a time, and found again after it was killed.

`engine.json` says which engine runs and who started it; `engine.lock` is held by flock for as long as its owner lives,
however that ends. A record whose engine is dead counts as none.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from app.errors import BusyError, MoetuneError
from app.launch.process import ProcessId, end_group, group_is_alive, identify, is_alive
from app.paths import made, state_dir


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """What is remembered of a running engine."""

    pid: int
    start_ticks: int
    owner_pid: int
    owner_start_ticks: int
    label: str
    argv: tuple[str, ...]
    url: str
    log_path: str
    started_at: str
    """ISO 8601 with its offset."""
    facts: dict[str, object] = field(default_factory=dict)
    """What the owner wants to find again: model, plan, prediction."""
    boot_id: str = ""
    """Start ticks count from a boot: in another boot they mean another process."""

    @property
    def engine(self) -> ProcessId:
        """The engine's process, the leader of its group."""
        return ProcessId(self.pid, self.start_ticks)

    @property
    def owner(self) -> ProcessId:
        """The moetune that started or adopted it."""
        return ProcessId(self.owner_pid, self.owner_start_ticks)


def boot_id() -> str:
    """The kernel's name for this boot; empty where it gives none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def running_engine() -> EngineRecord | None:
    """The engine on record if it, or a process of its group, is alive, whoever owns it."""
    try:
        found: dict[str, Any] = json.loads(_record_path().read_text(encoding="utf-8"))
        record = EngineRecord(**{**found, "argv": tuple(found["argv"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if record.boot_id == boot_id() and group_is_alive(record.engine) else None


def orphan() -> EngineRecord | None:
    """The engine on record if it is alive and its owner is not."""
    record = running_engine()
    return record if record is not None and not is_alive(record.owner) else None


def stop_orphan(record: EngineRecord, grace_s: float = 5.0) -> None:
    """End an engine that was left behind. Blocks until it is gone: `grace_s` and a little.

    Raises:
        BusyError: another moetune has adopted it in the meantime.
        MoetuneError: it does not go away.
    """
    claim = Claim()
    try:
        for pause_s in end_group(record.engine, grace_s):
            time.sleep(pause_s)
        if group_is_alive(record.engine):
            raise MoetuneError(
                f"The engine {record.label} (pid {record.pid}) does not end.",
                hint=f"End it as the user who started it: kill -9 -- -{record.pid}",
            )
        claim.forget()
    finally:
        claim.release()


class Claim:
    """The right to own an engine: held from before its start until it is gone.

    Raises:
        BusyError: another moetune holds it.
        MoetuneError: the state folder cannot be written.
    """

    def __init__(self) -> None:
        path = state_dir() / "engine.lock"
        try:
            made(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MoetuneError(
                f"{path} cannot be written: {error.strerror}.",
                hint="Make it writable, or set MOETUNE_HOME to a folder of yours.",
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise _busy(running_engine()) from error

    def refuse_orphan(self) -> None:
        """Make sure that no engine runs that an earlier moetune has left behind.

        Raises:
            BusyError: one does.
        """
        if record := running_engine():
            raise BusyError(
                f"The engine {record.label} (pid {record.pid}, {record.url}) runs on from an earlier moetune.",
                hint=f"Start moetune in a terminal to stop or adopt it, or end it with: kill -- -{record.pid}",
            )

    def write(self, record: EngineRecord) -> None:
        """Put an engine on record, in one step: a reader sees the old record or the new one."""
        path = _record_path()
        temporary = path.with_suffix(".new")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(record), file, default=str)
        temporary.replace(path)

    def adopt(self, record: EngineRecord) -> EngineRecord:
        """Put ourselves on record as the owner of an engine that runs."""
        adopted = replace(record, **owned_by_us())
        self.write(adopted)
        return adopted

    def forget(self) -> None:
        """Take the engine off the record."""
        _record_path().unlink(missing_ok=True)

    def release(self) -> None:
        """Let others own an engine. May be called again."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1


def owned_by_us() -> dict[str, Any]:
    """The fields of a record that name this process as the owner."""
    us = identify(os.getpid())
    return {"owner_pid": os.getpid(), "owner_start_ticks": us.start_ticks if us else 0}


def _record_path() -> Path:
    return state_dir() / "engine.json"


def _busy(record: EngineRecord | None) -> BusyError:
    if record is None:
        return BusyError("Another moetune is starting or stopping an engine.", hint="Try again in a moment.")
    return BusyError(
        f"Another moetune (pid {record.owner_pid}) runs {record.label} at {record.url}.",
        hint="Stop it there first (q, or Ctrl-C).",
    )
