"""What a benchmark of an engine is asked and answers, and the child process that it runs in."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from app.errors import EngineFailedError
from app.runtimes.child import Child, ChildOfOurs, engine_environment, kill_group
from app.runtimes.failures import explain_failure
from app.solver.plan import Parameters, Placement

Phase = Literal["decode", "prefill"]

TAIL_LINES = 200


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to time: each of `prompts` and `generated`, at each of `depths`."""

    model_path: Path
    placement: Placement
    parameters: Parameters
    """Threads, ubatch, KV type, load mode; the context follows from what is timed."""
    prompts: tuple[int, ...] = ()
    """Tokens of each prompt."""
    generated: tuple[int, ...] = ()
    """Tokens of each generation."""
    depths: tuple[int, ...] = (0,)
    """Tokens in the cache before."""
    repetitions: int = 4

    @property
    def context(self) -> int:
        """The longest context that is needed."""
        return max(self.depths) + max((*self.prompts, *self.generated))


@dataclass(frozen=True, slots=True)
class BenchRow:
    """What one of the tests took."""

    phase: Phase
    tokens: int
    depth: int
    samples_ms: tuple[float, ...]
    """Per token, one for each repetition, in their order."""


class Bench(Protocol):
    """One way to time an engine."""

    name: str

    def run(self, request: BenchRequest, *, limit_s: float) -> Iterator[BenchRow]:
        """Run the tests, and give each row as it is there.

        The child is ended when the iterator is closed, when an exception passes, and after `limit_s` seconds; what was
        given until then holds.

        Raises:
            EngineFailedError: the engine failed, with the reason.
            NoEngineError: it lacks an option or a device that the request needs.
        """
        ...


class TimeLimitError(EngineFailedError):
    """A benchmark that took longer than it was given."""


def lines_of(
    argv: Sequence[str],
    *,
    limit_s: float,
    env: Mapping[str, str] | None = None,
    on_stderr: Callable[[str], None] = lambda line: None,
) -> Iterator[str]:
    """The lines that a child writes on stdout, as they come. Nothing of it outlives the iterator.

    Raises:
        EngineFailedError: it cannot be started, or ended with another code than 0.
        TimeLimitError: it was ended after `limit_s` seconds.
    """
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    late = threading.Event()
    with ExitStack() as stack:
        try:
            child = stack.enter_context(ChildOfOurs(argv, env=engine_environment(env)))
        except OSError as error:
            raise EngineFailedError(f"{argv[0]} cannot be started: {error.strerror or error}.") from error
        timer = threading.Timer(limit_s, _end_late, (child, late))
        stack.callback(timer.cancel)
        timer.daemon = True
        timer.start()
        reader = threading.Thread(target=_drain, args=(child, tail, on_stderr), daemon=True)
        reader.start()
        assert child.stdout is not None
        for line in child.stdout:
            yield line.rstrip("\n")
        code = child.wait()
        reader.join(timeout=5)
    if late.is_set():
        raise TimeLimitError(f"{Path(argv[0]).name} was ended after {limit_s:.0f} s.", hint="Give it more time.")
    if code:
        reason, hint = explain_failure(list(tail), code)
        raise EngineFailedError(f"{Path(argv[0]).name} failed. {reason}", hint=hint)


def _end_late(child: Child, late: threading.Event) -> None:
    late.set()
    kill_group(child)


def _drain(child: Child, tail: deque[str], on_stderr: Callable[[str], None]) -> None:
    assert child.stderr is not None
    for line in child.stderr:
        tail.append(line.rstrip("\n"))
        on_stderr(tail[-1])
