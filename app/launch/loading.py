"""How far an engine has read its model, by the kernel's counters.

A llama-server prints no progress of its own: what it has read through `read` is exact (`-lm none`), and of a file that
it maps the resident pages are what it has got so far. The page cache may have had them before.
"""

from __future__ import annotations

import re
from pathlib import Path

_RCHAR = re.compile(r"^rchar: (\d+)$", re.MULTILINE)
_RSS_FILE = re.compile(r"^RssFile:\s+(\d+) kB$", re.MULTILINE)


def bytes_read(pid: int) -> int | None:
    """Bytes of files that a process has read or holds mapped in memory, whichever is more.

    `None`: the kernel does not say: it has ended, or is another user's.
    """
    found = []
    for name, pattern, unit in (("io", _RCHAR, 1), ("status", _RSS_FILE, 1024)):
        try:
            match = pattern.search(Path(f"/proc/{pid}/{name}").read_text())
        except OSError:
            continue
        if match:
            found.append(int(match[1]) * unit)
    return max(found, default=None)
