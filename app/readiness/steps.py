"""What a fix consists of: single steps that can be shown as commands, put into a script, and taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

StepKind = Literal["run", "write", "edit", "rebuild", "by hand"]
"""`rebuild`: makes an earlier change take effect (a boot menu, an initramfs), and is repeated after undoing it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do as root, and the way back."""

    kind: StepKind
    text: str
    """`run`, `rebuild`: the command. `write`: the line that becomes the file. `edit`: sed's expressions (-E).
    `by hand`: what a person does."""
    undo: str = ""
    """`run`: the command that takes it back. `edit`: the opposite expressions. `by hand`: what a person does."""
    path: str = ""
    """`write`, `edit`: the file; a pattern such as /boot/loader/entries/*.conf is as good."""


def run(command: str, undo: str) -> Step:
    """A command with the command that takes it back."""
    return Step("run", command, undo)


def rebuild(command: str) -> Step:
    """A command that brings what was edited into effect."""
    return Step("rebuild", command)


def write(path: str, line: str) -> Step:
    """A file of one line, ours alone."""
    return Step("write", line, path=path)


def by_hand(text: str, undo: str) -> Step:
    """What only a person can do."""
    return Step("by hand", text, undo)


def commands(steps: Iterable[Step], *, reboot: bool) -> str:
    """The steps for a person to copy: one command a line, each run only if those before it worked."""
    return _chain([_command(step) for step in _once(steps)], [s.text for s in steps if s.kind == "by hand"], reboot)


def undo_commands(steps: Iterable[Step], *, reboot: bool) -> str:
    """The way back: changes in reverse order, then what brings them into effect."""
    changes = [step for step in steps if step.kind != "rebuild"]
    rebuilds = [step for step in _once(steps) if step.kind == "rebuild"]
    lines = [_undo_command(step) for step in reversed(changes)] + [_command(step) for step in rebuilds]
    return _chain(lines, [step.undo for step in steps if step.kind == "by hand"], reboot)


def _once(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Each step once, what rebuilds after all that changes."""
    distinct = tuple(dict.fromkeys(steps))
    return tuple(s for s in distinct if s.kind != "rebuild") + tuple(s for s in distinct if s.kind == "rebuild")


def _chain(lines: Iterable[str], hand: list[str], reboot: bool) -> str:
    chain, hand = [line for line in lines if line], [text for text in hand if text]
    if chain and reboot:
        chain.append("sudo reboot")
    return "\n".join([*hand, " &&\n".join(chain)] if chain else hand)


def _command(step: Step) -> str:
    match step.kind:
        case "write":
            return f"echo '{step.text}' | sudo tee {step.path}"
        case "edit":
            return f"sudo sed -i -E {step.text} {step.path}"
        case "run" | "rebuild":
            return f"sudo {step.text}"
        case "by hand":
            return ""


def _undo_command(step: Step) -> str:
    match step.kind:
        case "write":
            return f"sudo rm {step.path}"
        case "edit":
            return f"sudo sed -i -E {step.undo} {step.path}"
        case "run":
            return f"sudo {step.undo}" if step.undo else ""
        case _:
            return ""
