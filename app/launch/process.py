"""Processes by identity: a pid together with its start time, so that a reused pid is never taken for the old one.

An engine is the leader of its own session and process group, so the group is what gets signalled and what has to be
empty before the engine counts as gone. Everything here is read from `/proc/PID/stat` (proc_pid_stat(5)).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KILL_WAIT_S = 20.0
"""How long to wait after SIGKILL: a GPU driver may take seconds to free tens of GiB."""

_GONE = frozenset("ZXx")
_STOPPED = frozenset("Tt")
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, unmistakably until the next boot."""

    pid: int
    start_ticks: int
    """Clock ticks after boot at which it started: field 22 of its stat file."""


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    group: int
    session: int
    start_ticks: int


def _stat(pid: int) -> _Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes().decode(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return _Stat(fields[0], int(fields[2]), int(fields[3]), int(fields[19])) if len(fields) > 19 else None


def identify(pid: int) -> ProcessId | None:
    """The identity of a process; `None` if there is none of that pid (one that is dead but not reaped still is)."""
    stat = _stat(pid)
    return None if stat is None else ProcessId(pid, stat.start_ticks)


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs; a zombie does not."""
    stat = _stat(process.pid)
    return stat is not None and stat.start_ticks == process.start_ticks and stat.state not in _GONE


def is_frozen(process: ProcessId) -> bool:
    """Whether that very process is stopped: by SIGSTOP or a debugger."""
    stat = _stat(process.pid)
    return stat is not None and stat.start_ticks == process.start_ticks and stat.state in _STOPPED


def group_members(leader: ProcessId) -> tuple[int, ...]:
    """Pids of the running members of the group that `leader` founded, itself included.

    The kernel gives out a pid again only when no group bears its number. So where the leader is gone and its
    number is still a group's, that group is the old one; where the number belongs to another process, the old
    group is empty.
    """
    founder = _stat(leader.pid)
    if founder is not None and founder.start_ticks != leader.start_ticks:
        return ()
    members = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and (stat := _stat(int(name))) is not None:
            ours = stat.group == leader.pid and stat.session == leader.pid
            if ours and stat.state not in _GONE:
                members.append(int(name))
    return tuple(members)


def group_is_alive(leader: ProcessId) -> bool:
    """Whether anything of the group still runs; cheap while the leader does."""
    return is_alive(leader) or bool(group_members(leader))


def signal_group(leader: ProcessId, number: signal.Signals) -> None:
    """Send a signal to the whole group; nothing happens if it is gone."""
    if group_is_alive(leader):
        try:
            os.killpg(leader.pid, number)
        except (ProcessLookupError, PermissionError):
            return


def end_group(leader: ProcessId, grace_s: float) -> Iterator[float]:
    """End the group: SIGTERM, wait, SIGKILL, wait.

    Args:
        leader: who founded the group.
        grace_s: seconds between the two signals at most.

    Yields:
        Seconds that the caller should let pass before it takes the next step; reaping is up to the caller.
    """
    if not group_is_alive(leader):
        return
    signal_group(leader, signal.SIGTERM)
    yield from _until_gone(leader, grace_s)
    if group_is_alive(leader):
        signal_group(leader, signal.SIGKILL)
        yield from _until_gone(leader, KILL_WAIT_S)


def _until_gone(leader: ProcessId, limit_s: float) -> Iterator[float]:
    waited_s, pause_s = 0.0, _FIRST_PAUSE_S
    while waited_s < limit_s and group_is_alive(leader):
        yield min(pause_s, limit_s - waited_s)
        waited_s += pause_s
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
