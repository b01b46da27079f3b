"""Finding engines: real programs, some of them ours, some of them broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.errors import NoEngineError, UsageError
from app.runtimes.base import Engine
from app.runtimes.llama_probe import ask, version_of
from app.runtimes.llama_server import BrokenEngine, find_binaries, inspect
from app.runtimes.rpc_servers import require_reachable
from tests.launch.engines import wait_until
from tests.ports import free_port

WORKS = r"""
case "$*" in
  *--version*) echo "version: 0.5.0 (0c1e57098)" ;;
  *--help*) printf -- '-c,    --ctx-size N    size\n--list-devices    list\n' ;;
  *--list-devices*) printf 'Available devices:\n  CUDA0: NVIDIA T4 (15000 MiB, 14000 MiB free)\n' ;;
esac
"""


def script(path: Path, body: str) -> Path:
    """A program that may be run, in shell."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return path


def broken(path: Path) -> BrokenEngine:
    found = inspect(path, "path")
    assert isinstance(found, BrokenEngine)
    return found


def runs(pid: int) -> bool:
    """Whether a process executes; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[-1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_engine_says_what_it_is(home: Path) -> None:
    path = script(home / "bin/llama-server", WORKS)
    found = inspect(path, "path")
    assert isinstance(found, Engine)
    assert found.version == "0.5.0 (0c1e57098)"
    assert found.backends == ("CPU", "CUDA")
    assert [device.name for device in found.devices] == ["CPU", "CUDA0"]
    assert "--ctx-size" in found.flags


def test_tools_beside_it_are_found(home: Path) -> None:
    path = script(home / "bin/llama-server", WORKS)
    tool = script(home / "bin/llama-fit-params", "")
    found = inspect(path, "path")
    assert isinstance(found, Engine)
    assert found.tools == {"llama-fit-params": tool}


def test_the_umbrella_binary_has_its_tools_inside(home: Path) -> None:
    path = script(home / "bin/llama", 'test "$1" = serve || exit 1\n' + WORKS)
    found = inspect(path, "path")
    assert isinstance(found, Engine)
    assert found.tools["llama-fit-params"] == path
    assert "ggml-rpc-server" not in found.tools


def test_a_second_look_runs_neither_version_nor_help(home: Path) -> None:
    path = script(home / "bin/llama-server", f'echo "$@" >> {home}/calls\n' + WORKS)
    first = inspect(path, "path")
    (home / "calls").unlink()
    assert inspect(path, "path") == first
    assert (home / "calls").read_text().split() == ["--list-devices"]


def test_a_changed_binary_is_asked_again(home: Path) -> None:
    path = script(home / "bin/llama-server", WORKS)
    inspect(path, "path")
    script(path, WORKS.replace("0.5.0", "0.6.12"))
    found = inspect(path, "path")
    assert isinstance(found, Engine)
    assert found.version.startswith("0.6.12")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 3", "exited with code 3"),
        ("kill -ILL $$", "instruction that this CPU does not have"),
        ("echo 'x: error while loading shared libraries: libfoo.so.1: cannot open' >&2; exit 127", "libfoo.so.1"),
        ("echo hello", "not llama.cpp"),
    ],
)
def test_a_broken_binary_is_reported_with_its_reason(home: Path, body: str, said: str) -> None:
    assert said in broken(script(home / "bin/llama-server", body)).reason


def test_a_folder_or_text_file_is_no_engine(home: Path) -> None:
    home.joinpath("llama-server").write_text("hello")
    assert "cannot be started" in broken(home / "llama-server").reason
    assert "cannot be started" in broken(home).reason


def test_a_binary_that_hangs_is_given_up_and_leaves_nothing(home: Path) -> None:
    path = script(home / "bin/llama-server", f"sleep 60 & echo $! >> {home}/pids; wait")
    answer = ask([str(path), "--version"], 1.0)
    assert "did not answer within 1 s" in answer.trouble
    for pid in home.joinpath("pids").read_text().split():
        # Killed with its group, but nobody here can wait for a grandchild's last instant.
        wait_until(lambda pid=pid: not runs(int(pid)))  # type: ignore[misc]  # a lambda's default has no annotation


def test_options_of_the_environment_do_not_reach_a_probe(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAMA_ARG_RPC", "10.0.0.1:1")
    assert "LLAMA_ARG_RPC" not in ask(["/usr/bin/env"], 5).stdout


def test_the_order_is_configured_built_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configured = script(home / "mine/llama-server", WORKS)
    built = script(home / "moetune/data/engines/llama.cpp-1-cpu/bin/llama-server", WORKS)
    script(home / "moetune/data/engines/.half-done/bin/llama-server", WORKS)
    on_path = script(home / "path/llama-server", WORKS)
    monkeypatch.setenv("MOETUNE_LLAMA_SERVER", str(home / "mine"))
    monkeypatch.setenv("PATH", f"{home / 'path'}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(home))
    assert list(find_binaries())[:3] == [(configured, "configured"), (built, "built"), (on_path, "path")]


def test_one_file_by_two_names_is_one_engine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = script(home / "real/llama-server", WORKS)
    (home / "path").mkdir()
    (home / "path/llama-server").symlink_to(real)
    monkeypatch.setenv("MOETUNE_LLAMA_SERVER", str(real))
    monkeypatch.setenv("PATH", str(home / "path"))
    assert [path for path, _ in find_binaries()].count(real) == 1
    assert (home / "path/llama-server") not in [path for path, _ in find_binaries()]


def test_a_configured_path_that_is_wrong_is_reported(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOETUNE_LLAMA_SERVER", str(home / "nowhere"))
    path, origin = next(find_binaries())
    assert origin == "configured"
    assert "No such file" in broken(path).reason


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("version: 0.5.0-dev (build 1, commit 0c1e570)\nbuilt with GNU 12.2.0", "0.5.0-dev (0c1e570)"),
        ("version: 0.5.0 (0c1e57098)", "0.5.0 (0c1e57098)"),
        ("ggml_cuda_init: found 1 device\nversion: 4567 (abcdef0)\nbuilt with cc", "b4567 (abcdef0)"),
        ("", "unknown"),
    ],
)
def test_versions_are_read_as_printed(text: str, version: str) -> None:
    assert version_of(text) == version


def test_an_rpc_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(NoEngineError, match=r"No RPC server answers at 127\.0\.0\.1:1 \(connection refused\)\."):
        require_reachable(("127.0.0.1:1",))


@pytest.mark.parametrize("text", ["localhost", "host:", ":5", "host:x", "host:70000"])
def test_an_rpc_server_is_written_as_host_and_port(text: str) -> None:
    with pytest.raises(UsageError, match="no RPC server"):
        require_reachable((text,))


def test_a_server_that_answers_is_no_trouble() -> None:
    import socket

    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        require_reachable((f"127.0.0.1:{port}",))
