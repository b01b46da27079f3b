"""Pictures of a screen, as SVG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textual.app import App


def save_svg(app: App[Any], path: str | Path) -> Path:
    """Write what is on the screen now to `path`.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.write_text(app.export_screenshot(simplify=True), encoding="utf-8")
    return path
