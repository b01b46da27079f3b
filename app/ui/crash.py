"""A fault of our own: its traceback goes to a file, the person gets one sentence.

`App._handle_exception`, which `app.py` overrides to get here, is private to Textual: there is no public hook.
"""

from __future__ import annotations

import traceback
from datetime import datetime
from typing import TYPE_CHECKING

from app.paths import made, state_dir

if TYPE_CHECKING:
    from pathlib import Path

    from rich.text import Text


def write_report(error: BaseException) -> Path | None:
    """Append the traceback of `error` to `crash.log` in the state folder; `None` where that cannot be written."""
    try:
        path = made(state_dir()) / "crash.log"
        with path.open("a", encoding="utf-8") as log:
            log.write(f"--- {datetime.now().astimezone().isoformat(timespec='seconds')}\n")
            log.writelines(traceback.format_exception(error))
    except OSError:
        return None
    return path


class ScreenFailedError(Exception):
    """An unexpected exception in the UI, as it is shown to a person."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.__cause__ = error
        self.report = write_report(error)

    @property
    def sentence(self) -> str:
        """What is said in the terminal after the screen has closed."""
        where = f"The details are in {self.report}." if self.report else "The details could not be saved."
        return f"moetune's screen failed: {self}. {where} Engines it had started were stopped."

    def __rich__(self) -> Text:
        """What Textual prints in place of a traceback."""
        from rich.text import Text

        return Text(self.sentence)
