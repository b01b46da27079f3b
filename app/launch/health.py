"""Asking an engine whether it is ready: `GET /health` answers 503 while it loads and 200 from then on."""

from __future__ import annotations

import asyncio

from app.launch.port import address_of

HEALTH_TIMEOUT_S = 2.0


async def is_healthy(url: str, timeout_s: float = HEALTH_TIMEOUT_S) -> bool:
    """Whether the engine at `url` answers `/health` with 200 within `timeout_s`."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _status(url) == b"200"
    except (OSError, ValueError, TimeoutError):  # refused, reset, or no HTTP
        return False


async def _status(url: str) -> bytes:
    host, port = address_of(url)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET /health HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        words = (await reader.readline()).split()
    finally:
        writer.close()
    return words[1] if len(words) > 1 else b""
