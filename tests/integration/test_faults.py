"""Real faults with the real engine: nothing is left behind, nothing hangs, and the reason is right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from app.errors import ExitCode
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.units import MIB
from tests.launch.engines import wait_until

Run = Callable[..., subprocess.Popen[str]]

LIMIT_S = 60
"""A run that has not ended by then hangs."""

ILL = (
    "import ctypes, mmap; m = mmap.mmap(-1, 4096, prot=7); m.write(bytes([15, 11]));"
    " ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"
)
"""Executes `ud2`, the x86 instruction that no CPU has."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=8, vocabulary=1024)
    return path


@pytest.fixture
def run(home: Path, model: Path, tools: Path, tmp_path: Path) -> Iterator[Run]:
    """Start `moetune run MODEL` with an engine that is the real one inside a shell script."""
    started: list[subprocess.Popen[str]] = []

    def start(
        *words: str, body: str = 'exec {real} "$@"', before: tuple[str, ...] = (), model: Path = model
    ) -> subprocess.Popen[str]:
        real = tools / "llama-server"
        engine = tmp_path / "llama-server"
        questions = "|".join(f'*" {word} "*' for word in ("--version", "--help", "--list-devices"))
        text = body.format(real=real, python=sys.executable, ill=ILL, model=model)
        engine.write_text(f'#!/bin/sh\ncase " $* " in\n{questions}) exec {real} "$@" ;;\nesac\n{text}\n')
        engine.chmod(0o755)
        argv = (*before, sys.executable, "-m", "app", "run", str(model), "--engine", str(engine), "--port", "0", *words)
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for left in engines(model):
        left.kill()


def engines(model: Path) -> list[psutil.Process]:
    """Processes with that model on their command line, moetune itself left out."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if str(model) in words and "-dev" in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read its narration up to a line with that word."""
    assert process.stderr is not None
    read = []
    for line in process.stderr:
        read.append(line)
        if word in line:
            return line
    pytest.fail(f"it never said {word!r}: {''.join(read)[-1500:]}")


def ended(process: subprocess.Popen[str], model: Path) -> tuple[int, str]:
    """Its exit code and its last words, once it has ended and left nothing."""
    _, said = process.communicate(timeout=LIMIT_S)
    assert engines(model) == []
    assert "Traceback" not in said
    return process.returncode, said


def test_an_engine_that_is_killed_is_missed_at_once(run: Run, model: Path) -> None:
    until(process := run(), "engine ready")
    [engine] = engines(model)
    engine.kill()
    code, said = ended(process, model)
    assert code == ExitCode.ENGINE_FAILED
    assert "killed (SIGKILL) by another program" in said


def test_an_engine_whose_moetune_is_killed_is_found_and_ended(run: Run, model: Path) -> None:
    until(process := run(), "engine ready")
    [engine] = engines(model)
    process.kill()
    process.wait()
    assert engine.is_running()
    heir = run("--orphan", "stop", "--prompt", "hi", "--tokens", "2")
    assert until(heir, "left behind").endswith(f"(pid {engine.pid}) ...\n")
    assert ended(heir, model)[0] == ExitCode.OK


def memory_groups() -> Generator[Path, None, None]:
    """Cgroups of our own, v2 or v1; none where they may not be made."""
    for parent in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")):
        group = parent / f"moetune-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            yield group
        finally:
            group.rmdir()


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A cgroup whose processes may have 40 MiB together; a server with a context of 64K tokens needs twice that."""
    with closing(memory_groups()) as groups:
        for group in groups:
            for name in ("memory.max", "memory.limit_in_bytes"):
                if (group / name).exists():
                    (group / name).write_text(str(40 * MIB))
                    yield group
                    return
    pytest.skip("no cgroup with a memory limit may be made here: it needs root and a writable /sys/fs/cgroup")


def test_the_oom_killer_is_named(run: Run, model: Path, small_group: Path) -> None:
    process = run("--context", "65536", body=f'echo $$ > {small_group}/cgroup.procs; exec {{real}} "$@"')
    code, said = ended(process, model)
    assert code == ExitCode.ENGINE_FAILED
    assert "killed by the kernel: out of memory" in said
    assert "Planning again" not in said, "nothing says by how much"


def test_memory_that_is_refused_is_told_and_less_is_tried(run: Run, model: Path) -> None:
    """Whether the second plan is small enough depends on what else the program maps; that it is tried does not."""
    process = run("--context", "32768", "--prompt", "hi", "--tokens", "2", body='ulimit -v 140000; exec {real} "$@"')
    code, said = ended(process, model)
    assert code in (ExitCode.OK, ExitCode.ENGINE_FAILED)
    assert "The machine ran out of memory" in said
    assert "Planning again with at most" in said


def test_a_frozen_engine_is_noticed_and_ended(run: Run, model: Path) -> None:
    until(process := run(), "engine ready")
    [engine] = engines(model)
    engine.suspend()
    until(process, "It is frozen")
    process.send_signal(signal.SIGINT)
    assert ended(process, model)[0] == ExitCode.INTERRUPTED


def test_a_load_that_takes_long_tells_how_far_it_is(run: Run, model: Path) -> None:
    """One that reads the whole file and then does nothing for long."""
    process = run(
        "--ready-timeout",
        "5",
        body='exec {python} -S -c "import io, sys, time; io.FileIO(sys.argv[1]).read(); time.sleep(9)" {model}',
    )
    assert "loading: 100 % of " in until(process, "loading: ")
    assert ended(process, model)[0] == ExitCode.ENGINE_FAILED


def test_an_engine_that_freezes_while_it_starts_is_given_up(run: Run, model: Path) -> None:
    process = run("--ready-timeout", "2", body="kill -STOP $$")
    code, said = ended(process, model)
    assert code == ExitCode.ENGINE_FAILED
    assert "not ready within 2 s. It is frozen" in said


def test_a_hundred_megabytes_of_narration_block_nothing_and_fill_no_disk(run: Run, model: Path, home: Path) -> None:
    flood = "yes 'a line of the flood that goes on and on and on' | head -c 100000000 >&2"
    process = run("--prompt", "hi", "--tokens", "2", body=flood + '; exec {real} "$@"')
    code, said = ended(process, model)
    assert code == ExitCode.OK, said
    [log] = (home / "moetune" / "state" / "logs").glob("*.log")
    assert log.stat().st_size < 66 * MIB


def test_one_that_ignores_sigterm_goes_with_its_grandchildren(run: Run, model: Path) -> None:
    mark = f"611.{os.getpid()}"
    process = run(body=f"trap '' TERM; sleep {mark} & {{real}} \"$@\" & wait; wait; wait")
    until(process, "engine ready")
    sleepers = [one for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or [])]
    assert len(sleepers) == 1
    process.send_signal(signal.SIGTERM)
    assert ended(process, model)[0] == ExitCode.TERMINATED
    wait_until(lambda: not any(one.is_running() for one in sleepers))


MOUNTED = 'mount -t tmpfs -o size={size} none {logs} && {fill} exec "$@"'


def on_small_disk(logs: Path, size: str, fill: str = "") -> tuple[str, ...]:
    """Words that give a command a tiny file system of its own at `logs`."""
    logs.mkdir(parents=True)
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", str(logs)], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here: it needs root")
    return ("unshare", "-m", "sh", "-c", MOUNTED.format(size=size, logs=logs, fill=fill), "sh")


def test_a_disk_that_fills_up_stops_no_engine(run: Run, model: Path, home: Path) -> None:
    disk = on_small_disk(home / "moetune" / "state" / "logs", "8k")
    process = run("--prompt", "hi", "--tokens", "2", before=disk)
    code, said = ended(process, model)
    assert code == ExitCode.OK, said


def test_a_disk_that_is_full_is_named(run: Run, model: Path, home: Path) -> None:
    logs = home / "moetune" / "state" / "logs"
    disk = on_small_disk(logs, "8k", f"head -c 8192 /dev/zero > {logs}/other;")
    code, said = ended(run(before=disk), model)
    assert code == ExitCode.FAILED
    assert "No space left on device" in said
    assert "Free some space" in said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('exec {real} "$@" --nonsense', "does not know the option --nonsense"),
        ('exec {real} "$@" -m {python}', "The model file is damaged, incomplete, or no GGUF file"),
        ('exec {real} "$@" -dev CUDA7', "The engine has no device CUDA7"),
        ("exec {python} -S -c '{ill}'", "uses an instruction that this CPU does not have"),
        (
            "while [ \"$1\" != --port ]; do set -- \"$@\" \"$1\"; shift; done; "
            "{python} -S -c 'import socket, sys, time; s = socket.create_server((\"127.0.0.1\", int(sys.argv[1])));"
            " print(1, flush=True); time.sleep(600)' \"$2\" > \"$0.ready\" &\n"
            "until [ -s \"$0.ready\" ]; do sleep 0.1; done; exec {real} \"$@\"",
            "another program has that port",
        ),
    ],
    ids=["unknown option", "bad model", "no such device", "illegal instruction", "port taken meanwhile"],
)  # fmt: skip
def test_an_end_at_the_start_has_its_true_reason(run: Run, model: Path, body: str, said: str) -> None:
    began = time.monotonic()
    code, errors = ended(run(body=body), model)
    assert code == ExitCode.ENGINE_FAILED
    assert said in errors
    assert time.monotonic() - began < LIMIT_S
