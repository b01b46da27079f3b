"""A judged fact, with its evidence and the way to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["blocks", "costs", "note", "good"]
"""`blocks`: nothing runs until it is mended. `costs`: speed or memory is lost. `good`: looked at and right."""


@dataclass(frozen=True, slots=True)
class Fix:
    """What a person can do. It is text to copy: nothing here is ever run for them."""

    text: str
    """Commands, or the setting to make where there is no command."""
    undo: str
    verify: str
    """A command that shows whether it worked."""
    reboot: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the machine that matters for inference."""

    id: str
    severity: Severity
    title: str
    evidence: str
    """What was seen, with its numbers."""
    reason: str
    """Why it matters."""
    fix: Fix | None = None
