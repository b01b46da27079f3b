"""What a person would read on the screen."""

from __future__ import annotations

import html
import re
from typing import Any

from textual.app import App
from textual.pilot import Pilot

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
    await pilot.pause()
    await pilot.pause()
