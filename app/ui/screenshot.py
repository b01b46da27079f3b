"""Pictures of a screen, as SVG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from textual.app import App

_WEB_FONTS = re.compile(r"@font-face\s*\{[^}]*\}\s*")
"""A picture that is looked at should ask nobody for anything: the viewer's own monospaced font does."""


def save_svg(app: App[Any], path: str | Path) -> Path:
    """Write what is on the screen now to `path`.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.write_text(_WEB_FONTS.sub("", app.export_screenshot(simplify=True)), encoding="utf-8")
    return path
