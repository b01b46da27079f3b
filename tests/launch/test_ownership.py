"""An engine whose owner was killed is found, adopted or stopped; nothing else is ever taken for it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.errors import BusyError, EngineFailedError, MoetuneError
from app.launch.ownership import Claim, EngineRecord, boot_id, orphan, owned_by_us, running_engine, stop_orphan
from app.launch.process import ProcessId, group_members, identify, is_alive
from app.launch.supervisor import EngineState, Supervisor
from app.runtimes.base import Command
from tests.launch.engines import alive, fake, happened, our_children, started_by, wait_until

OWNER = """
import asyncio, sys
from app.launch.supervisor import Supervisor
from app.runtimes.base import Command
async def own():
    supervisor = Supervisor()
    await supervisor.start(Command(tuple(sys.argv[2:]), {}, (), sys.argv[1]), label="left behind", facts={"model": "m"})
    print(supervisor.status.pid, flush=True)
    await supervisor.exited()
asyncio.run(own())
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOETUNE_HOME", str(tmp_path))
    return tmp_path


class Owner:
    """A moetune in a process of its own, with an engine that is ready."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER, command.url, *command.argv], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.engine_pid = int(self.process.stdout.readline())

    def kill(self) -> None:
        """End it by SIGKILL: it cleans nothing up."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """An owner whose engine ignores SIGTERM and has a grandchild that does too."""
    owner = Owner(fake("--ignore-term", "--grandchild", tmp_path / "grandchild", "--say", "hello"))
    yield owner
    owner.kill()
    for pid in (owner.engine_pid, int((tmp_path / "grandchild").read_text())):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_an_engine_outlives_its_killed_owner_and_is_found(owner: Owner) -> None:
    assert orphan() is None
    running = running_engine()
    owner.kill()
    found = orphan()
    assert found is not None
    assert found == running
    assert found.pid == owner.engine_pid
    assert alive(found.pid)
    assert found.argv == owner.command.argv
    assert (found.label, found.url, found.facts) == ("left behind", owner.command.url, {"model": "m"})
    assert Path(found.log_path).read_text().endswith("hello\n")


def test_an_orphan_is_stopped_with_its_whole_group(owner: Owner, home: Path) -> None:
    grandchild = int((home / "grandchild").read_text())
    owner.kill()
    found = orphan()
    assert found is not None
    stop_orphan(found, grace_s=0.2)
    assert not alive(found.pid)
    assert not alive(grandchild)
    assert orphan() is None
    assert not (home / "state" / "engine.json").exists()
    stop_orphan(found, grace_s=0.2)  # again: nothing is left to do


def test_a_grandchild_that_alone_was_left_is_still_an_orphan(owner: Owner, home: Path) -> None:
    owner.kill()
    os.kill(owner.engine_pid, signal.SIGKILL)
    wait_until(lambda: not alive(owner.engine_pid))
    found = orphan()
    assert found is not None
    stop_orphan(found, grace_s=0.1)
    assert not alive(int((home / "grandchild").read_text()))


async def test_an_orphan_is_adopted_and_stopped(owner: Owner) -> None:
    owner.kill()
    found = orphan()
    assert found is not None
    supervisor = Supervisor(grace_s=0.2)
    await supervisor.adopt(found)
    assert supervisor.status.state is EngineState.READY
    assert (supervisor.status.pid, supervisor.status.url) == (owner.engine_pid, owner.command.url)
    await happened(lambda: "hello" in supervisor.tail)
    assert orphan() is None
    record = running_engine()
    assert record is not None
    assert record.owner_pid == os.getpid()
    status = await supervisor.stop()
    assert status.state is EngineState.EXITED
    assert not alive(owner.engine_pid)
    assert running_engine() is None


async def test_the_death_of_an_adopted_engine_is_noticed(owner: Owner) -> None:
    owner.kill()
    found = orphan()
    assert found is not None
    supervisor = Supervisor(grace_s=0.1)
    await supervisor.adopt(found)
    os.kill(owner.engine_pid, signal.SIGKILL)
    status = await asyncio.wait_for(supervisor.exited(), 10)
    assert status.exit_code is None
    assert status.reason.startswith("The engine ended unasked")


async def test_a_start_over_an_orphan_is_refused(owner: Owner) -> None:
    owner.kill()
    command = fake()
    with pytest.raises(BusyError, match="runs on from an earlier moetune") as caught:
        await Supervisor().start(command, label="new")
    assert f"kill -- -{owner.engine_pid}" in caught.value.hint
    assert started_by(command) == []


async def test_an_engine_with_an_owner_is_neither_adopted_nor_stopped_nor_doubled(owner: Owner) -> None:
    record = running_engine()
    assert record is not None
    with pytest.raises(BusyError, match=f"pid {owner.process.pid}. runs left behind at {owner.command.url}"):
        await Supervisor().start(fake(), label="new")
    with pytest.raises(BusyError):
        await Supervisor().adopt(record)
    with pytest.raises(BusyError):
        stop_orphan(record)
    assert alive(owner.engine_pid)


async def test_an_orphan_that_has_ended_meanwhile_cannot_be_adopted(owner: Owner, home: Path) -> None:
    owner.kill()
    found = orphan()
    assert found is not None
    stop_orphan(found, grace_s=0.1)
    with pytest.raises(EngineFailedError, match="has ended meanwhile"):
        await Supervisor().adopt(found)
    supervisor = Supervisor()
    await supervisor.start(fake(), label="next")  # the claim was given up
    await supervisor.stop()


def test_a_reused_pid_is_not_taken_for_the_engine(home: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        ours = identify(stranger.pid)
        assert ours is not None
        assert is_alive(ours)
        earlier = ProcessId(stranger.pid, ours.start_ticks - 100)
        assert not is_alive(earlier)
        assert group_members(earlier) == ()
        record = _record(earlier)
        _put(home, record)
        assert running_engine() is None
        stop_orphan(record, grace_s=0.1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.communicate()


def test_a_record_of_another_boot_counts_as_none(home: Path) -> None:
    us = identify(os.getpid())
    assert us is not None
    _put(home, _record(us))
    assert running_engine() is not None
    _put(home, replace(_record(us), boot_id="another"))
    assert running_engine() is None


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process = identify(child.pid)
    assert process is not None
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identify(child.pid) == process
    assert not is_alive(process)
    child.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"argv": 3}', '{"argv": [], "pid": 1}'])
def test_a_damaged_record_counts_as_none(home: Path, content: str) -> None:
    (home / "state").mkdir()
    (home / "state" / "engine.json").write_text(content)
    assert running_engine() is None


def test_a_name_with_brackets_and_spaces_is_no_obstacle(tmp_path: Path) -> None:
    script = tmp_path / "a) b (c"
    script.write_text("#!/bin/sh\nread line\n")
    script.chmod(0o755)
    child = subprocess.Popen([script], stdin=subprocess.PIPE)
    try:
        process = identify(child.pid)
        assert process is not None
        assert is_alive(process)
    finally:
        child.communicate(b"\n")


def test_a_state_folder_that_cannot_be_made_is_one_sentence(home: Path) -> None:
    (home / "state").write_text("a file")
    with pytest.raises(MoetuneError, match=r"engine\.lock cannot be written") as caught:
        Claim()
    assert "MOETUNE_HOME" in caught.value.hint


def test_nothing_of_ours_is_left() -> None:
    assert our_children() == []


def _record(engine: ProcessId) -> EngineRecord:
    return EngineRecord(
        pid=engine.pid,
        start_ticks=engine.start_ticks,
        **owned_by_us(),
        label="a label",
        argv=("a",),
        url="http://127.0.0.1:1",
        log_path="/nowhere",
        started_at="2020-01-01T00:00:00+00:00",
        boot_id=boot_id(),
    )


def _put(home: Path, record: EngineRecord) -> None:
    claim = Claim()
    claim.write(record)
    claim.release()
    assert json.loads((home / "state" / "engine.json").read_text())["pid"] == record.pid
