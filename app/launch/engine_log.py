"""The engine's log: a file that it writes by itself, and that is read from behind.

A pipe would tie the engine to us: it blocks when nobody reads, and breaks when we die. A file opened with O_APPEND
does neither, can be cut while it is written, and is there for whoever adopts the engine.
"""

from __future__ import annotations

import codecs
import errno
import os
import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from app.errors import MoetuneError
from app.paths import made, state_dir
from app.units import MIB

LOG_LIMIT_BYTES = 64 * MIB
KEPT_LOGS = 10
_READ_BYTES = MIB
"""Most that one read takes in; what lies further back is skipped, it is in the file."""
_LINE_LIMIT = 64 * 1024
_LINE_END = re.compile(r"\r?\n|\r(?=[^\n])")


def create_log(label: str, argv: Sequence[str]) -> Path:
    """Make the log of a new engine, headed by its command line, and remove all but the newest logs.

    Raises:
        MoetuneError: it cannot be written; a disk that fills up later stops no engine, its lines are lost.
    """
    folder = state_dir() / "logs"
    try:
        made(folder)
        for old in sorted(folder.glob("*.log"))[: -(KEPT_LOGS - 1)]:
            old.unlink(missing_ok=True)
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.")[:60] or "engine"
        path = folder / f"{datetime.now():%Y%m%d-%H%M%S-%f}-{slug}.log"
        path.write_text(f"$ {shlex.join(argv)}\n", encoding="utf-8")
    except OSError as error:
        raise unwritable(folder, error) from error
    return path


def unwritable(path: Path, error: OSError) -> MoetuneError:
    """The error for a file of moetune's state that cannot be written."""
    hint = "Free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Make it writable"
    return MoetuneError(
        f"{path} cannot be written: {error.strerror}.", hint=f"{hint}, or set MOETUNE_HOME to another folder."
    )


class LogTail:
    """Reads what was added to a log since the last time, as whole lines.

    Args:
        path: the log.
        offset: where to begin, in bytes.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self._offset = offset
        self._partial = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def read(self) -> list[str]:
        """The lines that were completed since the last call; invalid UTF-8 is replaced, a gap is announced.

        A log that has grown over its limit is emptied afterwards.
        """
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                skipped = self._seek(size)
                file.seek(self._offset)
                data = file.read(_READ_BYTES)
        except OSError:  # somebody removed it: the engine goes on writing, unread
            return []
        self._offset += len(data)
        lines = self._split(self._decoder.decode(data))
        if self._offset > LOG_LIMIT_BYTES:
            self._empty()
        return [f"[{skipped} bytes skipped, see {self.path}]", *lines[1:]] if skipped else lines

    def finish(self) -> list[str]:
        """What is left at the end, an unfinished last line included."""
        lines = self.read()
        rest = self._partial + self._decoder.decode(b"", final=True)
        self._partial = ""
        return [*lines, rest] if rest else lines

    def _seek(self, size: int) -> int:
        if size < self._offset:  # it was emptied
            self._offset = 0
        skipped = max(0, size - self._offset - _READ_BYTES)
        if skipped:
            self._offset += skipped
            self._partial = ""
            self._decoder.reset()
        return skipped

    def _split(self, text: str) -> list[str]:
        *lines, self._partial = _LINE_END.split(self._partial + text)
        if len(self._partial) > _LINE_LIMIT:
            lines.append(self._partial)
            self._partial = ""
        return lines

    def _empty(self) -> None:
        os.truncate(self.path, 0)
        self._offset = 0
