"""The embedded engine: llama-cpp-python in a child process that answers like `llama-server`.

`Embedded` is the runtime, for the parent. Everything else belongs to the child, `python -m app.runtimes.embedded`,
which must start fast: this file therefore loads the runtime only when somebody asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.runtimes.embedded.runtime import Embedded

__all__ = ["Embedded"]


def __getattr__(name: str) -> object:
    if name == "Embedded":
        from app.runtimes.embedded.runtime import Embedded

        return Embedded
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
