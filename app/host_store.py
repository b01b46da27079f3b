"""Hosts on the network whose RPC servers were made known, in the file of `app.store`."""

from __future__ import annotations

from dataclasses import dataclass

from app.store import now, opened, store_path


@dataclass(frozen=True, slots=True)
class KnownHost:
    """One RPC server, by the name that a person gave it."""

    name: str
    """Unique, whatever its case."""
    endpoint: str
    """`host:port`, as the engine is to be told."""
    always: bool
    """Whether every plan may use it without being asked."""
    at: str = ""
    """When it was made known, ISO 8601, UTC."""


def save_host(host: KnownHost) -> KnownHost:
    """Remember a host; what was known by its name or at its endpoint is replaced."""
    saved = KnownHost(host.name, host.endpoint, host.always, now())
    with opened() as connection:
        connection.execute("DELETE FROM hosts WHERE name = ? OR endpoint = ?", (host.name, host.endpoint))
        connection.execute(
            "INSERT INTO hosts (name, endpoint, always, at) VALUES (?, ?, ?, ?)",
            (saved.name, saved.endpoint, saved.always, saved.at),
        )
    return saved


def remove_host(name: str) -> bool:
    """Forget a host; whether it was known."""
    if not store_path().exists():
        return False
    with opened() as connection:
        return connection.execute("DELETE FROM hosts WHERE name = ?", (name,)).rowcount > 0


def known_hosts() -> tuple[KnownHost, ...]:
    """All of them, in the order in which they were made known."""
    if not store_path().exists():
        return ()
    with opened() as connection:
        rows = connection.execute("SELECT name, endpoint, always, at FROM hosts ORDER BY rowid").fetchall()
    return tuple(KnownHost(name, endpoint, bool(always), at) for name, endpoint, always, at in rows)
