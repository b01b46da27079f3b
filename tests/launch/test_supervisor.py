"""The supervisor against real processes: none is ever left, and every end has its reason."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from app.errors import BusyError, EngineFailedError, PortInUseError, UsageError
from app.launch import engine_log
from app.launch.ownership import running_engine
from app.launch.supervisor import EngineState, EngineStatus, EngineStoppedError, Supervisor
from app.runtimes.base import Command
from tests.launch.engines import alive, fake, happened, our_children, started_by


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOETUNE_HOME", str(tmp_path))
    return tmp_path


async def test_an_engine_becomes_ready_and_stops_without_a_trace(home: Path) -> None:
    states: list[EngineStatus] = []
    supervisor = Supervisor(on_state=states.append)
    command = fake("--ready-after", 0.3)
    began = time.monotonic()
    await supervisor.start(command, label="a fake", facts={"model": "none"})
    assert time.monotonic() - began >= 0.3
    pid = supervisor.status.pid
    assert pid is not None
    assert os.getpgid(pid) == os.getsid(pid) == pid
    record = running_engine()
    assert record is not None
    assert (record.pid, record.owner_pid, record.facts) == (pid, os.getpid(), {"model": "none"})
    status = await supervisor.stop()
    assert [each.state for each in states] == [
        EngineState.STARTING,
        EngineState.READY,
        EngineState.STOPPING,
        EngineState.EXITED,
    ]
    assert status.exit_code == -signal.SIGTERM
    assert status.reason == "The engine was stopped."
    assert running_engine() is None
    assert not (home / "state" / "engine.json").exists()
    assert our_children() == []


async def test_a_flood_on_stderr_blocks_nothing_and_its_end_is_kept() -> None:
    supervisor = Supervisor()
    await supervisor.start(fake("--chatty-bytes", 3_000_000, "--say", "the last line"), label="chatty")
    await happened(lambda: "the last line" in supervisor.tail)
    assert len(supervisor.tail) == supervisor.tail.maxlen
    assert supervisor.log_path is not None
    assert supervisor.log_path.stat().st_size > 3_000_000
    await supervisor.stop()


async def test_one_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    supervisor = Supervisor(grace_s=0.3)
    await supervisor.start(fake("--ignore-term"), label="stubborn")
    began = time.monotonic()
    status = await supervisor.stop()
    assert 0.3 <= time.monotonic() - began < 2
    assert status.exit_code == -signal.SIGKILL
    assert our_children() == []


async def test_a_grandchild_that_ignores_sigterm_goes_with_it(tmp_path: Path) -> None:
    supervisor = Supervisor(grace_s=0.3)
    await supervisor.start(fake("--grandchild", tmp_path / "pid"), label="parent")
    grandchild = int((tmp_path / "pid").read_text())
    assert alive(grandchild)
    await supervisor.stop()
    assert not alive(grandchild)


async def test_a_grandchild_of_an_engine_that_crashes_is_ended(tmp_path: Path) -> None:
    supervisor = Supervisor(grace_s=0.2)
    await supervisor.start(fake("--grandchild", tmp_path / "pid"), label="parent")
    grandchild = int((tmp_path / "pid").read_text())
    assert supervisor.status.pid is not None
    os.kill(supervisor.status.pid, signal.SIGSEGV)
    await supervisor.exited()
    assert not alive(grandchild)


async def test_a_crash_at_start_says_why() -> None:
    supervisor = Supervisor()
    line = "error: invalid argument: --moon"
    with pytest.raises(EngineFailedError, match="does not know the option --moon") as caught:
        await supervisor.start(fake("--die-at-start", "--say", line), label="bad flag")
    assert caught.value.hint
    assert supervisor.status.state is EngineState.EXITED
    assert supervisor.status.exit_code == 1
    assert line in supervisor.tail
    assert our_children() == []


async def test_a_crash_after_ready_is_told() -> None:
    supervisor = Supervisor()
    command = fake("--die-code", 7)
    await supervisor.start(command, label="mortal")
    assert supervisor.status.state is EngineState.READY
    with pytest.raises(OSError, match="closed connection"):
        await asyncio.to_thread(urllib.request.urlopen, f"{command.url}/die")
    status = await supervisor.exited()
    assert status.state is EngineState.EXITED
    assert status.exit_code == 7
    assert "code 7" in status.reason
    assert running_engine() is None


async def test_a_kill_from_outside_is_told_from_the_oom_killer() -> None:
    supervisor = Supervisor()
    await supervisor.start(fake(), label="victim")
    assert supervisor.status.pid is not None
    os.kill(supervisor.status.pid, signal.SIGKILL)
    status = await supervisor.exited()
    assert status.exit_code == -signal.SIGKILL
    assert "by another program" in status.reason
    assert status.kind == "killed"
    assert "oomd" in status.hint


async def test_one_that_never_gets_ready_is_ended() -> None:
    supervisor = Supervisor(ready_timeout_s=0.5)
    command = fake("--never-ready")
    with pytest.raises(EngineFailedError, match=r"not ready within 0\.5 s") as caught:
        await supervisor.start(command, label="hung")
    assert str(supervisor.log_path) in caught.value.hint
    assert started_by(command) == []


async def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    supervisor = Supervisor()
    command = fake("--never-ready")
    start = asyncio.create_task(supervisor.start(command, label="cancelled"))
    await happened(lambda: supervisor.status.state is EngineState.STARTING)
    await happened(lambda: started_by(command))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert supervisor.status.state is EngineState.EXITED
    assert our_children() == []


async def test_a_start_that_is_cancelled_twice_still_ends_the_engine() -> None:
    supervisor = Supervisor(grace_s=0.3)
    start = asyncio.create_task(supervisor.start(fake("--never-ready", "--ignore-term"), label="cancelled"))
    await happened(lambda: our_children())
    start.cancel()
    await happened(lambda: supervisor.status.state is EngineState.STOPPING)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    await supervisor.exited()
    assert our_children() == []


def test_a_loop_that_closes_takes_the_engine_with_it() -> None:
    supervisor = Supervisor(grace_s=0.3)

    async def leave_it_running() -> None:
        await supervisor.start(fake("--ignore-term"), label="left")

    asyncio.run(leave_it_running())
    assert supervisor.status.state is EngineState.EXITED
    assert our_children() == []


def test_an_interpreter_that_exits_takes_the_engine_with_it(tmp_path: Path) -> None:
    command = fake()
    code = f"""
import asyncio, atexit
from app.launch.ownership import running_engine
from app.launch.supervisor import Supervisor
from app.runtimes.base import Command
atexit.register(lambda: print(running_engine()))  # runs after what is registered from here on
loop = asyncio.new_event_loop()
supervisor = Supervisor()
loop.run_until_complete(supervisor.start(Command({command.argv!r}, {{}}, (), {command.url!r}), label="left"))
print(running_engine().label)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "left\nNone\n"
    assert started_by(command) == []


async def test_stop_while_starting_ends_both() -> None:
    supervisor = Supervisor()
    start = asyncio.create_task(supervisor.start(fake("--never-ready"), label="slow"))
    await happened(lambda: our_children())
    status = await supervisor.stop()
    assert status.state is EngineState.EXITED
    with pytest.raises(EngineStoppedError, match="was stopped"):
        await start
    assert our_children() == []


async def test_stops_at_once_and_again_agree() -> None:
    supervisor = Supervisor()
    assert (await supervisor.stop()).state is EngineState.IDLE
    await supervisor.start(fake(), label="one")
    first, second = await asyncio.gather(supervisor.stop(), supervisor.stop())
    assert first is second is await supervisor.stop()


async def test_a_supervisor_can_start_again() -> None:
    supervisor = Supervisor()
    await supervisor.start(fake("--say", "first engine"), label="one")
    await supervisor.stop()
    await supervisor.start(fake("--say", "second engine"), label="two")
    await happened(lambda: "second engine" in supervisor.tail)
    assert "first engine" not in supervisor.tail
    await supervisor.stop()


async def test_a_second_start_is_refused() -> None:
    supervisor, other = Supervisor(), Supervisor()
    await supervisor.start(fake(), label="one")
    with pytest.raises(BusyError, match="running already"):
        await supervisor.start(fake(), label="two")
    with pytest.raises(BusyError, match=f"pid {os.getpid()}.* runs one at http"):
        await other.start(fake(), label="two")
    assert len(our_children()) == 1
    await supervisor.stop()
    await other.start(fake(), label="two")
    await other.stop()


async def test_a_port_in_use_names_the_program() -> None:
    command = fake()
    with socket.socket() as taken:
        # With SO_REUSEPORT, as llama-server listens: a second server would share the port silently.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        port = int(command.url.rpartition(":")[2])
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(PortInUseError, match=rf"Port {port} .*\(pid {os.getpid()}\)") as caught:
            await Supervisor().start(command, label="late")
    assert "--port" in caught.value.hint
    assert our_children() == []
    await _starts(command)


async def test_a_port_is_free_right_after_an_engine_that_had_clients() -> None:
    supervisor = Supervisor()
    command = fake()
    await supervisor.start(command, label="one")
    await asyncio.to_thread(lambda: urllib.request.urlopen(f"{command.url}/slots").read())
    await supervisor.stop()
    await _starts(command)


@pytest.mark.parametrize("url", ["http://127.0.0.1", "http://127.0.0.1:99999", "http://192.0.2.1:8080"])
async def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    command = fake()
    with pytest.raises(UsageError):
        await Supervisor().start(Command(command.argv, {}, (), url), label="nowhere")


async def test_a_program_that_is_missing_is_one_sentence(tmp_path: Path) -> None:
    script = tmp_path / "llama-server"
    for content, reason in ((None, "No such file"), ("not a program", "Exec format error")):
        if content is not None:
            script.write_text(content)
            script.chmod(0o755)
        with pytest.raises(EngineFailedError, match=f"llama-server cannot be started: {reason}"):
            await Supervisor().start(Command((str(script),), {}, (), fake().url), label="none")
    await _starts(fake())


async def test_variables_are_set_and_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_CTX_SIZE", "7")
    monkeypatch.setenv("KEPT", "yes")
    supervisor = Supervisor()
    command = fake(env={"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, unset=("LLAMA_ARG_CTX_SIZE",))
    await supervisor.start(command, label="env")
    body = await asyncio.to_thread(lambda: urllib.request.urlopen(f"{command.url}/env").read())
    seen = json.loads(body)
    assert seen["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert seen["KEPT"] == "yes"
    assert "LLAMA_ARG_CTX_SIZE" not in seen
    await supervisor.stop()


async def test_bytes_that_are_no_utf8_do_no_harm() -> None:
    supervisor = Supervisor()
    lines: list[str] = []
    supervisor = Supervisor(on_line=lines.append)
    raw = b"caf\xc3\xa9 \xff\n10 %\r20 %\rdone\n".hex()
    await supervisor.start(fake("--say-hex", raw), label="raw")
    await happened(lambda: "done" in lines)
    assert lines[-4:] == ["café \N{REPLACEMENT CHARACTER}", "10 %", "20 %", "done"]
    await supervisor.stop()


async def test_a_listener_that_fails_does_not_stop_the_watch() -> None:
    faults: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: faults.append(str(context["exception"])))

    def fail(_: object) -> None:
        raise RuntimeError("the UI has gone")

    supervisor = Supervisor(on_state=fail, on_line=fail)
    await supervisor.start(fake("--say", "hello"), label="one")
    await supervisor.stop()
    assert "the UI has gone" in faults
    assert our_children() == []


async def test_a_log_over_its_limit_is_emptied_and_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_log, "LOG_LIMIT_BYTES", 50_000)
    supervisor = Supervisor()
    command = fake("--chatty-bytes", 100_000)
    await supervisor.start(command, label="long")
    path = supervisor.log_path
    assert path is not None
    await happened(lambda: path.stat().st_size < 50_000)
    body = json.dumps({"max_tokens": 1}).encode()
    await asyncio.to_thread(lambda: urllib.request.urlopen(f"{command.url}/v1/chat/completions", body).read())
    await happened(lambda: any(line.startswith("request") for line in supervisor.tail))
    await supervisor.stop()


async def test_only_the_newest_logs_are_kept(home: Path) -> None:
    logs = home / "state" / "logs"
    logs.mkdir(parents=True)
    for number in range(15):
        (logs / f"20200101-0000{number:02}-000000-old.log").touch()
    supervisor = Supervisor()
    await supervisor.start(fake(), label="../a model: 20B")
    names = sorted(path.name for path in logs.iterdir())
    assert len(names) == engine_log.KEPT_LOGS
    assert names[0].startswith("20200101-000006")
    assert names[-1].endswith("-a-model-20B.log")
    assert supervisor.log_path is not None
    assert supervisor.log_path.read_text().startswith("$ ")
    assert supervisor.log_path.parent == logs
    await supervisor.stop()


async def _starts(command: Command) -> None:
    supervisor = Supervisor()
    await supervisor.start(command, label="after")
    await supervisor.stop()
