from __future__ import annotations

import socket

from app.tuner.links import round_trip_us
from tests.ports import free_port


def test_a_server_on_this_host_is_near() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        took = round_trip_us(f"127.0.0.1:{server.getsockname()[1]}")
    assert took is not None
    assert 0 < took < 100_000


def test_nobody_there_is_no_time() -> None:
    assert round_trip_us(f"127.0.0.1:{free_port()}") is None
