"""Known hosts with real RPC servers on loopback: named, asked, left out where they do not answer."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from app.errors import NoEngineError, UsageError
from app.host_store import KnownHost, known_hosts, save_host
from app.jobs.hosts import add_host, endpoint_from, hosts_in_use, list_hosts, remove_host, trouble_of, with_network
from app.runtimes.rpc_client import RpcClient, RpcError
from app.tuner.links import ask_server
from detectors.facts import Device, Machine
from tests.ports import free_port


def test_a_server_says_what_it_lends_and_is_measured_by_its_own_protocol(rpc_pair: tuple[str, str]) -> None:
    facts = ask_server(rpc_pair[0])
    assert int(facts.version.split(".")[0]) >= 3
    [(free, total)] = facts.memory_bytes
    page = 1 << 12
    assert page < free <= total
    assert facts.link.round_trip_us is not None
    assert 1 < facts.link.round_trip_us < 50_000
    assert facts.link.bandwidth_gbps is not None
    assert facts.link.bandwidth_gbps > 0.01
    assert not facts.link.why


def test_a_server_gets_back_what_was_allocated_to_measure_it(rpc_pair: tuple[str, str]) -> None:
    with RpcClient(rpc_pair[0]) as client:
        handle, base = client.buffer(1 << 16)
        client.read(handle, base, 1 << 16, times=3)
        client.free(handle)
        assert client.device_count() == 1
        with pytest.raises(RpcError, match="closed the connection"):
            client.read(handle, base, 1 << 16)
    assert trouble_of(rpc_pair[0]) == "", "the server goes on after a client's mistake"


def test_a_host_is_known_by_name_and_name_and_endpoint_mean_the_same(home: Path, rpc_pair: tuple[str, str]) -> None:
    near, far = rpc_pair
    report = add_host(near, "attic")
    assert report.host == known_hosts()[0]
    assert report.round_trip_us is not None
    assert report.bandwidth_gbps is not None
    assert hosts_in_use(()).endpoints == ()
    assert hosts_in_use(("ATTIC", far)).endpoints == (near, far)
    assert hosts_in_use(("attic", near)).endpoints == (near,)
    add_host(far, "desk", always=True)
    assert hosts_in_use(()).endpoints == (far,)
    assert hosts_in_use(("attic",)).endpoints == (near, far)
    assert hosts_in_use(("none",)).endpoints == ()
    assert [one.host.name for one in list_hosts()] == ["attic", "desk"]
    assert remove_host("Desk").endpoint == far
    assert hosts_in_use(()).endpoints == ()


def test_a_name_that_nobody_knows_is_refused_with_those_that_are_known(home: Path) -> None:
    with pytest.raises(UsageError, match="known as 'cellar'") as caught:
        hosts_in_use(("cellar",))
    assert "moetune host add" in caught.value.hint
    save_host(KnownHost("attic", "10.0.0.7:50052", always=False))
    with pytest.raises(UsageError) as caught:
        remove_host("cellar")
    assert caught.value.hint == "There are: attic."


@pytest.mark.parametrize("name", ["none", "", "a b", "-x", "host:1"])
def test_a_name_that_could_be_taken_for_something_else_is_refused(home: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        add_host("127.0.0.1", name)
    assert known_hosts() == ()


def test_the_port_of_the_server_is_understood_where_none_is_given() -> None:
    assert endpoint_from("attic") == "attic:50052"
    assert endpoint_from("10.0.0.7:1234") == "10.0.0.7:1234"
    with pytest.raises(UsageError, match="IPv6"):
        endpoint_from("fe80::1")
    with pytest.raises(UsageError, match="no RPC server"):
        endpoint_from("attic:http")


def test_a_host_without_a_server_is_not_remembered(home: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    with pytest.raises(NoEngineError, match="connection refused") as caught:
        add_host(endpoint)
    assert f"moetune rpc-serve --listen {endpoint}" in caught.value.hint
    assert known_hosts() == ()


def test_another_program_at_that_port_is_told_from_an_rpc_server(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen()
        endpoint = f"127.0.0.1:{other.getsockname()[1]}"
        assert "does not answer" in trouble_of(endpoint)


def test_a_host_that_is_always_used_and_does_not_answer_is_left_out_and_named(home: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    save_host(KnownHost("attic", endpoint, always=True))
    used = hosts_in_use(())
    assert used.endpoints == ()
    assert used.notes[0].startswith(f"attic ({endpoint}) is left out: connection refused.")
    [report] = list_hosts()
    assert report.trouble == "connection refused"
    assert report.facts is None


def test_a_server_that_serves_another_engine_is_said_to(home: Path, rpc_pair: tuple[str, str]) -> None:
    with RpcClient(rpc_pair[0]):
        assert "serves another engine" in trouble_of(rpc_pair[0])
    assert trouble_of(rpc_pair[0]) == ""


def test_a_frozen_server_is_given_up_in_time(home: Path, tools: Path) -> None:
    port = free_port()
    server = subprocess.Popen(
        [tools / "ggml-rpc-server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while trouble := trouble_of(f"127.0.0.1:{port}"):
            assert time.monotonic() < deadline, trouble
            time.sleep(0.02)
        server.send_signal(signal.SIGSTOP)
        assert "does not answer" in trouble_of(f"127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()


def test_only_a_server_on_another_host_has_a_network_between(home: Path) -> None:
    """Nobody answers at the documentation's address: its link stays unknown, and is not assumed."""
    cpu = Device("cpu", "cpu", "CPU", "", "ram")
    loopback = Device("remote:127.0.0.1:50052", "remote", "near", "", "ram")
    far = Device("remote:192.0.2.1:50052", "remote", "far", "", "far")
    machine = Machine("host", devices=(cpu, loopback, far))
    assert with_network(machine, measure=False).links == ()
