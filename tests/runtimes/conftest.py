"""Engines and plans for the tests of the runtimes: made up ones, and the real tools where they are built."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.paths import data_dir
from app.runtimes.base import Engine, EngineDevice
from app.runtimes.llama_devices import CPU_DEVICE
from app.runtimes.llama_flags import parse_help
from app.solver.model import Workload
from app.solver.plan import Parameters, Placement, Plan, Prediction

OPTIONS = Path(__file__).parent / "options"
"""The option names of real versions, one line per option, `VALUE` after those that take one."""

USER_HOME_BUILDS = data_dir() / "engines"
"""Looked up before a test moves MOETUNE_HOME."""


def engine_of(version: str = "0.5.0", devices: tuple[EngineDevice, ...] = ()) -> Engine:
    """An engine that speaks that version's dialect; nothing is run."""
    known = parse_help((OPTIONS / f"llama-server-{version}.txt").read_text())
    return Engine(
        runtime="llama_server",
        path=Path("/opt/llama.cpp/bin/llama-server"),
        origin="configured",
        version=version,
        backends=("CPU",),
        devices=(CPU_DEVICE, *devices),
        flags=known.flags,
        switches=known.switches,
    )


def device(name: str, device_id: str, buffer_type: str = "") -> EngineDevice:
    return EngineDevice(name, buffer_type or name, name, 24 << 30, 23 << 30, device_id)


def plan_of(
    attention: str, experts: tuple[str, ...], *, model: str = "/models/m.gguf", load_mode: str = "none"
) -> Plan:
    """A plan of which only the placement and the parameters matter here."""
    parameters = Parameters(
        context=8192,
        parallel=1,
        ubatch=512,
        batch=2048,
        kv_type_k="f16",
        kv_type_v="f16",
        flash_attention=True,
        load_mode=load_mode,
        threads=2,
        threads_batch=2,
    )
    return Plan(
        model_name="m",
        model_path=model,
        workload=Workload(),
        placement=Placement(attention, experts),
        parameters=parameters,
        memory=(),
        decode=Prediction(10.0, 8.0, 12.0, "estimated", 0, ()),
        alternatives=(),
    )


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


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


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
        _await_listening(port)
    yield f"127.0.0.1:{endpoints[0]}", f"127.0.0.1:{endpoints[1]}"
    for server in servers:
        assert server.poll() is None, "an RPC server died during the test"
        server.kill()
        server.wait()


def _await_listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)
    pytest.fail(f"no RPC server came up on port {port}")
