"""Known hosts on the network: adding, listing, removing, and what a plan may use of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from app import host_store, store
from app.errors import NoEngineError, UsageError
from app.host_store import KnownHost
from app.jobs.checking import known_machine, machine_key
from app.runtimes.registry import is_loopback
from app.runtimes.rpc_client import RpcClient, RpcError
from app.runtimes.rpc_servers import parse_endpoint
from app.tuner.links import MeasuredLink, ServerFacts, ask_server, measure_link
from detectors.facts import Link, Machine

DEFAULT_PORT = 50052
"""What `ggml-rpc-server` listens on when nobody says otherwise."""
NO_HOSTS = "none"
"""In place of a host: use none, not even those that are always used."""
ROUND_TRIP = "link.round_trip:"
"""Name of a stored measurement in microseconds, with the RPC server's `host:port` behind it."""
BANDWIDTH = "link.bandwidth:"
"""The same in GB/s."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class HostReport:
    """A known host and what is known of the way to it."""

    host: KnownHost
    round_trip_us: float | None
    bandwidth_gbps: float | None
    measured_at: str
    """ISO 8601, UTC; empty: never."""
    facts: ServerFacts | None = None
    """What its server says at this moment; `None`: it was not asked, or `trouble`."""
    trouble: str = ""
    """Why it could not be asked, in a few words."""


@dataclass(frozen=True, slots=True)
class HostsInUse:
    """The RPC servers of a plan, and what is to be said about them."""

    endpoints: tuple[str, ...]
    notes: tuple[str, ...] = ()


def add_host(where: str, name: str | None = None, *, always: bool = False) -> HostReport:
    """Ask the server, measure the way to it and remember it.

    Args:
        where: `host` or `host:port`.
        name: what to call it; `None`: the host.
        always: let every plan use it.

    Raises:
        UsageError: `where` or `name` cannot be one.
        NoEngineError: no RPC server answers there; nothing is remembered.
    """
    endpoint = endpoint_from(where)
    name = name if name is not None else endpoint.rpartition(":")[0]
    if not _NAME.fullmatch(name) or name.lower() == NO_HOSTS:
        raise UsageError(
            f"{name!r} cannot be the name of a host.", hint="Use letters, digits, dots, - and _, such as attic-pc."
        )
    try:
        facts = ask_server(endpoint)
    except RpcError as error:
        host, _, port = endpoint.rpartition(":")
        raise NoEngineError(
            f"No RPC server can be used at {endpoint}: {error}.",
            hint=f"Start one there: moetune rpc-serve --listen {host}:{port}",
        ) from error
    _remember(endpoint, facts.link)
    return _report(host_store.save_host(KnownHost(name, endpoint, always)), facts)


def remove_host(name: str) -> KnownHost:
    """Forget a host, by its name or its endpoint.

    Raises:
        UsageError: none is called so.
    """
    found = _find(name)
    host_store.remove_host(found.name)
    return found


def list_hosts(*, ask: bool = True) -> tuple[HostReport, ...]:
    """Every known host; asked what it lends at present, the way to it measured again."""
    reports = []
    for host in host_store.known_hosts():
        facts, trouble = None, ""
        if ask:
            try:
                facts = ask_server(host.endpoint)
                _remember(host.endpoint, facts.link)
            except RpcError as error:
                trouble = str(error)
        reports.append(_report(host, facts, trouble))
    return tuple(reports)


def endpoint_from(where: str) -> str:
    """`host:port` of what a person wrote.

    Raises:
        UsageError: it is none, or an IPv6 address, which llama.cpp cannot be told.
    """
    if where.count(":") > 1:
        raise UsageError(
            f"{where!r} is an IPv6 address: llama.cpp's RPC has none.", hint="Give a name or IPv4 address."
        )
    endpoint = where if ":" in where else f"{where}:{DEFAULT_PORT}"
    parse_endpoint(endpoint)
    return endpoint


def hosts_in_use(asked: Sequence[str]) -> HostsInUse:
    """The RPC servers that a person's words mean, and those that are always used.

    Args:
        asked: names of known hosts and `host:port`s; with `none` among them, no host is used.

    A host that is always used and does not answer is left out with a note: it must not keep a plan from being made.

    Raises:
        UsageError: a word is neither.
    """
    if NO_HOSTS in asked:
        return HostsInUse(())
    endpoints = [word if ":" in word else _find(word).endpoint for word in asked]
    notes = []
    for host in host_store.known_hosts():
        if not host.always or host.endpoint in endpoints:
            continue
        if trouble := trouble_of(host.endpoint):
            notes.append(
                f"{host.name} ({host.endpoint}) is left out: {trouble}."
                f" `moetune host remove {host.name}` ends its use in every plan."
            )
        else:
            endpoints.append(host.endpoint)
    return HostsInUse(tuple(dict.fromkeys(endpoints)), tuple(notes))


def trouble_of(endpoint: str) -> str:
    """Why a server cannot be used at this moment, in a few words; empty: it can be."""
    try:
        with RpcClient(endpoint):
            return ""
    except RpcError as error:
        return str(error)


def name_of(endpoint: str) -> str:
    """`attic (10.0.0.7:50052)`, or the endpoint alone where it has no name."""
    known = next((host.name for host in host_store.known_hosts() if host.endpoint == endpoint), None)
    return f"{known} ({endpoint})" if known else endpoint


def with_network(machine: Machine, *, measure: bool = True) -> Machine:
    """The machine with a link for each remote device on another host, as it was measured.

    Args:
        machine: with its remote devices (`machine_with_remotes`).
        measure: measure now what never was (about a second each); else it stays unknown.
    """
    links, ways = list(machine.links), {}
    for device in machine.devices:
        if device.kind != "remote" or machine.link("cpu", device.id) is not None:
            continue
        endpoint = device.id.removeprefix("remote:").partition("/")[0]
        if is_loopback(endpoint):
            continue
        if endpoint not in ways:
            ways[endpoint] = _known_way(endpoint, machine, measure=measure)
        round_trip, gbps, at = ways[endpoint]
        if round_trip is not None or gbps is not None:
            latency = None if round_trip is None else round_trip / 2
            how = f"network, measured {at[:10]}"
            links.append(Link("cpu", device.id, gbps, latency, False, "measured", how=how))
    return replace(machine, links=tuple(links))


def measure_ways(machine: Machine, endpoints: Sequence[str]) -> dict[str, float | None]:
    """Measure the way to each server again and keep it: microseconds there and back."""
    found: dict[str, float | None] = {}
    for endpoint in dict.fromkeys(endpoints):
        link = measure_link(endpoint)
        _remember(endpoint, link, machine)
        found[endpoint] = link.round_trip_us
    return found


def _known_way(endpoint: str, machine: Machine, *, measure: bool) -> tuple[float | None, float | None, str]:
    key = machine_key(machine)
    trip, rate = (store.latest_measurement(key, name + endpoint) for name in (ROUND_TRIP, BANDWIDTH))
    if trip is None and measure:
        _remember(endpoint, measure_link(endpoint), machine)
        return _known_way(endpoint, machine, measure=False)
    return trip.value if trip else None, rate.value if rate else None, trip.at if trip else ""


def _remember(endpoint: str, link: MeasuredLink, machine: Machine | None = None) -> None:
    key = machine_key(machine or known_machine())
    if link.round_trip_us is not None:
        store.save_measurement(key, ROUND_TRIP + endpoint, link.round_trip_us, "us", "there and back, the least")
    if link.bandwidth_gbps is not None:
        store.save_measurement(key, BANDWIDTH + endpoint, link.bandwidth_gbps, "GB/s", "from there to here")


def _report(host: KnownHost, facts: ServerFacts | None, trouble: str = "") -> HostReport:
    trip, rate, at = _known_way(host.endpoint, known_machine(), measure=False)
    return HostReport(host, trip, rate, at, facts, trouble)


def _find(name: str) -> KnownHost:
    known = host_store.known_hosts()
    for host in known:
        if name.lower() == host.name.lower() or name == host.endpoint:
            return host
    names = ", ".join(host.name for host in known)
    raise UsageError(
        f"No host is known as {name!r}.",
        hint=f"There are: {names}." if names else "`moetune host add NAME[:port]` makes one known.",
    )
