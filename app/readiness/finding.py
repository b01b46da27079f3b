"""A judged fact, with its evidence and the way to mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from app.readiness.bootparams import Diff
from app.readiness.steps import Step, commands, undo_commands

Severity = Literal["blocks", "costs", "note", "unknown", "good"]
"""`blocks`: nothing runs, or a device is lost, until it is mended. `costs`: speed or memory is lost. `note`: worth
knowing, or a matter of taste. `unknown`: it could not be looked at, and the evidence says why; never taken for good.
`good`: looked at and right."""

SEVERITIES: tuple[Severity, ...] = ("blocks", "costs", "note", "unknown", "good")
"""In the order in which findings are listed."""


@dataclass(frozen=True, slots=True)
class Fix:
    """What a person can do. It is text to copy: nothing here is ever run for them."""

    text: str
    """Commands, or the setting to make where there is no command."""
    undo: str
    verify: str
    """A command that shows whether it worked."""
    reboot: bool
    steps: tuple[Step, ...] = ()
    """The same, so that a script can do it and take it back; empty where only a person can."""
    diff: str = ""
    """What changes on the kernel's command line, a word a line; empty where nothing does."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the machine that matters for inference."""

    id: str
    severity: Severity
    title: str
    evidence: str
    """What was seen and where, with its numbers; for `unknown`, why it was not seen."""
    reason: str
    """Why it matters, in tokens per second or GiB where that can be said, and on what ground."""
    fix: Fix | None = None
    cost_share: float = 0.0
    """Rough share of the speed, or of the memory a model could use, that it takes away: 0 to 1. Orders findings."""


def fix_of(steps: tuple[Step, ...], verify: str, *, reboot: bool, diff: Diff | None = None) -> Fix:
    """A fix of steps, its text and the way back written out."""
    return Fix(
        text=commands(steps, reboot=reboot),
        undo=undo_commands(steps, reboot=reboot),
        verify=verify,
        reboot=reboot,
        steps=steps,
        diff=diff.text() if diff else "",
    )
