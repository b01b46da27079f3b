"""Hosts in network namespaces with slowed links: measured as they are, planned with, run, and noticed when they go."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.jobs.hosts import trouble_of
from app.jobs.planning import PlanRequest, make_plan
from app.jobs.vanishing import words_without
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.solver.model import Workload
from app.tuner.links import ask_server

SPACE, HERE, THERE = "moetune-test", "mtt-here", "mtt-there"
ADDRESS, ENDPOINT = "10.213.7.2", "10.213.7.2:50052"
SHAPED = ("tbf", "rate", "200mbit", "burst", "64kb", "latency", "100ms")
SHAPED_GBPS = 0.2 / 8
DELAY_MS = 5.0
"""Each way."""


def sudo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)


@pytest.fixture
def host(tools: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A real RPC server in a namespace of its own, behind a link of 200 Mbit/s."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not (shutil.which("ip") and shutil.which("tc")):
        pytest.skip("ip and tc (iproute2) are not installed")
    monkeypatch.setenv("MOETUNE_LLAMA_SERVER", str(tools / "llama-server"))
    inside = ("ip", "netns", "exec", SPACE)
    steps = [
        ("ip", "netns", "add", SPACE),
        ("ip", "link", "add", HERE, "type", "veth", "peer", "name", THERE),
        ("ip", "link", "set", THERE, "netns", SPACE),
        ("ip", "address", "add", "10.213.7.1/30", "dev", HERE),
        ("ip", "link", "set", HERE, "up"),
        (*inside, "ip", "address", "add", f"{ADDRESS}/30", "dev", THERE),
        (*inside, "ip", "link", "set", THERE, "up"),
        ("tc", "qdisc", "add", "dev", HERE, "root", *SHAPED),
        (*inside, "tc", "qdisc", "add", "dev", THERE, "root", *SHAPED),
    ]
    server = None
    try:
        for step in steps:
            done = sudo(*step)
            if done.returncode:
                pytest.skip(f"{' '.join(step)}: {done.stderr.strip()}")
        server = subprocess.Popen(
            [*inside, tools / "ggml-rpc-server", "-H", ADDRESS, "-p", "50052"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, restore_signals=False,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while trouble := trouble_of(ENDPOINT):
            assert time.monotonic() < deadline, trouble
            time.sleep(0.05)
        yield server
    finally:
        if server is not None:
            server.kill()
            server.wait()
        sudo("ip", "link", "del", HERE)
        sudo("ip", "netns", "del", SPACE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    write_slice(find_spec("demo"), path, layers=2, experts=8, vocabulary=1024)
    return path


def test_the_measured_bandwidth_is_the_links(host: subprocess.Popen[bytes]) -> None:
    link = ask_server(ENDPOINT).link
    assert link.bandwidth_gbps == pytest.approx(SHAPED_GBPS, rel=0.2)


@pytest.fixture
def delayed_endpoint(tools: Path) -> Iterator[str]:
    """A real RPC server in a namespace of its own, `DELAY_MS` away."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if not shutil.which("ip") or not Path("/dev/net/tun").exists():
        pytest.skip("ip (iproute2) or /dev/net/tun is not there")
    space, address = f"{SPACE}-far", "10.213.8.2"
    inside = ("ip", "netns", "exec", space)
    relay = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.delayed_link", "mtt-tun-a", "mtt-tun-b", f"{DELAY_MS:g}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    server = None
    try:
        assert relay.stdout is not None
        if relay.stdout.readline().strip() != "up":
            pytest.skip("no TUN device can be made here")
        for step in (
            ("ip", "netns", "add", space),
            ("ip", "link", "set", "mtt-tun-b", "netns", space),
            ("ip", "address", "add", "10.213.8.1/30", "dev", "mtt-tun-a"),
            ("ip", "link", "set", "mtt-tun-a", "up"),
            (*inside, "ip", "address", "add", f"{address}/30", "dev", "mtt-tun-b"),
            (*inside, "ip", "link", "set", "mtt-tun-b", "up"),
        ):
            done = sudo(*step)
            if done.returncode:
                pytest.skip(f"{' '.join(step)}: {done.stderr.strip()}")
        server = subprocess.Popen(
            [*inside, tools / "ggml-rpc-server", "-H", address, "-p", "50052"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, restore_signals=False,
        )  # fmt: skip
        deadline = time.monotonic() + 20
        while trouble := trouble_of(f"{address}:50052"):
            assert time.monotonic() < deadline, trouble
            time.sleep(0.05)
        yield f"{address}:50052"
    finally:
        for process in (server, relay):
            if process is not None:
                process.kill()
                process.communicate()
        sudo("ip", "netns", "del", space)


def test_the_measured_latency_is_the_links(delayed_endpoint: str) -> None:
    link = ask_server(delayed_endpoint).link
    assert link.round_trip_us == pytest.approx(2e3 * DELAY_MS, rel=0.3)
    assert link.round_trip_us is not None
    assert link.round_trip_us >= 2e3 * DELAY_MS


def start(model: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "app", "run", str(model), "-c", "512", "--rpc", ENDPOINT, "--devices", "RPC0",
         "--port", "0", "--plain"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ},
    )  # fmt: skip


def until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C stops" in line:
            return
    pytest.fail("".join(said))


def test_a_plan_across_the_link_is_reckoned_with_it_and_runs(host: subprocess.Popen[bytes], model: Path) -> None:
    request = PlanRequest(str(model), Workload(context=512), rpc=(ENDPOINT,), devices=("RPC0",), port=0)
    planned = make_plan(request)
    link = planned.machine.link("cpu", f"remote:{ENDPOINT}")
    assert link is not None
    assert link.basis == "measured"
    assert link.bandwidth_gbps == pytest.approx(SHAPED_GBPS, rel=0.2)
    process = start(model)
    try:
        until_ready(process)
        assert '"tokens_predicted":4' in ask_once(process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.parametrize("how", ["the server is killed", "the link goes dark"])
def test_a_host_that_vanishes_is_named_and_the_plan_without_it_offered(
    how: str, host: subprocess.Popen[bytes], model: Path
) -> None:
    process = start(model)
    try:
        until_ready(process)
        if how == "the server is killed":
            host.kill()
            host.wait()
            ask_once(process)
        else:
            time.sleep(3)  # until the first echo has been answered
            sudo("ip", "link", "set", HERE, "down")
        _, err = process.communicate(timeout=90)
    finally:
        process.kill()
    assert process.returncode == 6, err
    assert "vanished" in err
    assert ENDPOINT in err
    assert "t/s predicted: moetune run" in err
    assert "--rpc none" in err


def ask_once(process: subprocess.Popen[str]) -> str:
    """Make the engine use its host: an idle one does not notice. What it answers."""
    import psutil

    children = psutil.Process(process.pid).children(recursive=True)
    [port] = {c.laddr.port for child in children for c in child.net_connections("tcp") if c.status == "LISTEN"}
    body = b'{"prompt": "a", "n_predict": 4, "ignore_eos": true}'
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/completion", body, timeout=10) as answer:
            text: str = answer.read().decode()
            return text
    except OSError as error:
        return str(error)


def test_the_offered_command_keeps_what_does_not_name_the_host() -> None:
    words = ["run", "m.gguf", "-c", "512", "--rpc=a:1,b:2", "--devices", "RPC0,CPU", "--limit", "CUDA0=1GiB"]
    assert words_without(words, ("b:2",)) == "moetune run m.gguf -c 512 --limit CUDA0=1GiB --rpc b:2"
    assert words_without(words, ()).endswith("--rpc none")
