"""What every form of an export says: the command, its environment, and a few lines on what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.jobs.planning import PlannedRun
from app.solver.explain import placement_text, speed_text
from app.units import count_text

_NUMBER = re.compile(r"-\d")


@dataclass(frozen=True, slots=True)
class Launch:
    """A command that serves a plan, apart from whoever starts it."""

    name: str
    """Of the service or the model: lower case letters, digits, `.` and `-`."""
    title: str
    about: tuple[str, ...]
    """Comment lines, without a mark; no line breaks in them."""
    runtime: str
    """`llama_server`, `embedded` or `ktransformers`."""
    argv: tuple[str, ...]
    """The model's path in it is absolute where the file is there."""
    model: str
    """That path; of KTransformers, the placeholder."""
    env: tuple[tuple[str, str], ...]
    unset: tuple[str, ...]
    port: int
    switches: frozenset[str]
    """Options of the engine that take no value."""
    planned: PlannedRun | None = None
    """What it was made of, for a form that is more than a command."""

    def options(self) -> Iterator[tuple[str, str | None]]:
        """Every option with its value, `None` for a switch; the program and its words come before them."""
        words = list(self.argv)
        position = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
        while position < len(words):
            option = words[position]
            value = words[position + 1] if position + 1 < len(words) else None
            if value is None or option in self.switches or (value.startswith("-") and not _NUMBER.match(value)):
                yield option, None
                position += 1
            else:
                yield option, value
                position += 2

    @property
    def program(self) -> tuple[str, ...]:
        """The words before the options."""
        count = next((i for i, word in enumerate(self.argv) if word.startswith("-")), len(self.argv))
        return self.argv[:count]


def launch_of(planned: PlannedRun, *, name: str, model_path: str | None = None) -> Launch:
    """What is to be written down of a planned run.

    Args:
        planned: the plan and its command.
        name: what it is to be called; made fit for a file's or a service's name.
        model_path: the model's path as the engine is to get it, where it is not the plan's.
    """
    plan = planned.plan
    path = model_path or plan.model_path
    argv = tuple(path if word == plan.model_path else word for word in planned.command.argv)
    about = (
        f"{plan.model_name}: {placement_text(planned.machine, plan.placement, planned.shape)}",
        f"predicted {speed_text(plan.decode)}",
        f"{count_text(plan.workload.context)} of context"
        + (f" for each of {plan.parameters.parallel} at once" if plan.parameters.parallel > 1 else ""),
        f"made by moetune for {planned.engine.runtime} {planned.engine.version}",
    )
    return Launch(
        name=re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "model",
        title=plan.model_name,
        about=tuple(" ".join(text.split()) for text in about),
        runtime=planned.engine.runtime,
        argv=argv,
        model=path,
        env=tuple(sorted(planned.command.env.items())),
        unset=planned.command.unset,
        port=urlsplit(planned.command.url).port or 8080,
        switches=planned.engine.switches,
        planned=planned,
    )
