"""What a person would read on the screen."""

from __future__ import annotations

import asyncio
import html
import re
import time
from typing import Any

from textual.app import App
from textual.pilot import Pilot

PATIENCE_S = 30.0
"""Only a test that fails waits this long."""

_TEXT = re.compile(r'<text[^>]* x="([0-9.]+)" y="([0-9.]+)"[^>]*>([^<]*)</text>')


def screen_text(app: App[Any]) -> str:
    """The screen's text, row by row, without its colours."""
    svg = app.export_screenshot(title="")
    body = svg[svg.index("-matrix") :]
    rows: dict[float, list[tuple[float, str]]] = {}
    for x, y, text in _TEXT.findall(body):
        rows.setdefault(float(y), []).append((float(x), html.unescape(text).replace("\xa0", " ")))
    return "\n".join("".join(text for _, text in sorted(row)) for _, row in sorted(rows.items()))


async def settle(pilot: Pilot[Any]) -> None:
    """Wait until the workers are done and what they found is drawn."""
    await pilot.app.workers.wait_for_complete()
    for _ in range(2):
        await pilot.pause()
        drawn = asyncio.Event()
        pilot.app.screen.call_after_refresh(drawn.set)
        await asyncio.wait_for(drawn.wait(), PATIENCE_S)
    await pilot.pause()


async def reads(pilot: Pilot[Any], text: str) -> str:
    """Wait until the screen says this; what it says then."""
    deadline = time.monotonic() + PATIENCE_S
    while text not in (seen := screen_text(pilot.app)):
        assert time.monotonic() < deadline, f"{text!r} is not in:\n{seen}"
        await pilot.pause(0.02)
    return seen
