"""The one thread that owns llama.cpp's context: it takes requests from a queue and generates."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import perf_counter

from app.runtimes.embedded.bindings import llama
from app.runtimes.embedded.loading import Loaded
from app.runtimes.embedded.narration import say
from app.runtimes.embedded.sampling import Sampling, sampler
from app.runtimes.embedded.text import TextStream
from app.runtimes.embedded.timing import Timing
from app.runtimes.embedded.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token."""

    token: int
    text: str | None
    """`None` where the token only began a character or, perhaps, a stop word."""
    timings: dict[str, float] | None


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a generation."""

    text: str
    """What was still held back."""
    stop_type: str
    """`eos`, `limit` or `word`."""
    stopping_word: str
    truncated: bool
    """The context was full."""
    has_new_line: bool
    cached_tokens: int
    timings: dict[str, float]


@dataclass(frozen=True, slots=True)
class Failed:
    """The engine could not go on."""

    message: str


Event = Piece | Done | Failed


@dataclass(slots=True)
class Task:
    """One request."""

    tokens: list[int]
    limit: int = -1
    """Tokens to generate; negative: until the model ends or the context is full."""
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    cache_prompt: bool = True
    timings_per_token: bool = False
    id: int = -1
    events: SimpleQueue[Event] = field(default_factory=SimpleQueue)
    cancelled: bool = False
    """Set by whoever waits for the events; the engine looks at it before every step."""
    timing: Timing = field(default_factory=Timing)


@dataclass(slots=True)
class Totals:
    """Counters since the start, for `/metrics`."""

    prompt_tokens: int = 0
    prompt_s: float = 0.0
    prompt_cached: int = 0
    predicted_tokens: int = 0
    predicted_steps: int = 0
    predicted_s: float = 0.0
    decode_calls: int = 0
    longest_sequence: int = 0


class Generator:
    """Serves one sequence at a time from a queue of tasks.

    Other threads may call `submit` and read `current`, `last`, `waiting` and `totals` at any time.
    """

    def __init__(self, loaded: Loaded, vocabulary: Vocabulary) -> None:
        self._loaded = loaded
        self._vocabulary = vocabulary
        self._memory = llama().llama_get_memory(loaded.context)
        self._in_memory: list[int] = []
        """The tokens whose keys and values the KV cache holds, in order."""
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._next_id = 0
        self._one = (ctypes.c_int32 * 1)()
        self._one_batch = llama().llama_batch_get_one(self._one, 1)
        self.context_tokens = loaded.context_tokens
        self.current: Task | None = None
        self.last: Task | None = None
        self.totals = Totals()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._queue.qsize()

    def submit(self, task: Task) -> Task:
        """Queue a task; its events will arrive in `task.events`, a `Done` or a `Failed` last.

        A task that is cancelled sends no last event.
        """
        task.id, self._next_id = self._next_id, self._next_id + 1
        self._queue.put(task)
        return task

    def close(self) -> None:
        """End `run` after the task at hand, which is cancelled."""
        if (task := self.current) is not None:
            task.cancelled = True
            task.events.put(Failed("the engine is stopping"))
        self._queue.put(None)

    def run(self) -> None:
        """Serve tasks until `close`."""
        while (task := self._queue.get()) is not None:
            if task.cancelled:
                continue
            self.current = task
            try:
                for event in self._generate(task):
                    task.events.put(event)
            except RuntimeError as error:
                self._clear()  # a failed call may leave a part of its batch behind
                say(f"error: request {task.id}: {error}")
                task.events.put(Failed(str(error)))
            finally:
                self._account(task)
                self.last, self.current = task, None

    def _generate(self, task: Task) -> Iterator[Event]:
        timing = task.timing
        timing.started = perf_counter()
        if not self._read_prompt(task):
            return
        text = TextStream(task.stops)
        if task.limit == 0:
            timing.end_prompt()
            yield self._done(task, text, "limit")
            return
        bindings, context = llama(), self._loaded.context
        sample, is_end = bindings.llama_sampler_sample, bindings.llama_vocab_is_eog
        with sampler(task.sampling, self._vocabulary) as chain:
            while not task.cancelled:
                token = sample(chain, context, -1)
                timing.count_token()
                ended = is_end(self._loaded.vocabulary, token)
                fresh = None if ended else text.feed(self._vocabulary.piece(token))
                yield Piece(token, fresh, timing.as_json() if task.timings_per_token else None)
                if ended:
                    reason = "eos"
                elif text.stopping_word:
                    reason = "word"
                elif timing.decoded == task.limit or len(self._in_memory) >= self.context_tokens:
                    reason = "limit"
                else:
                    self._one[0] = token
                    self._decode(self._one_batch)
                    self._in_memory.append(token)
                    continue
                yield self._done(task, text, reason)
                return

    def _done(self, task: Task, text: TextStream, reason: str) -> Done:
        rest = text.close()
        full = reason == "limit" and task.timing.decoded != task.limit
        return Done(
            text=rest,
            stop_type="word" if text.stopping_word else reason,
            stopping_word=text.stopping_word,
            truncated=full,
            has_new_line=text.has_new_line,
            cached_tokens=len(self._in_memory),
            timings=task.timing.as_json(),
        )

    def _read_prompt(self, task: Task) -> bool:
        """Bring the prompt into the KV cache, one ubatch a call; `False` where the task was cancelled."""
        tokens, timing, step = task.tokens, task.timing, self._loaded.ubatch
        timing.cached = self._reuse(task)
        start = timing.cached
        while start < len(tokens):
            if task.cancelled:
                return False
            chunk = tokens[start : start + step]
            batch = (ctypes.c_int32 * len(chunk))(*chunk)
            self._decode(llama().llama_batch_get_one(batch, len(chunk)))
            self._in_memory.extend(chunk)
            start += len(chunk)
            timing.processed = start - timing.cached
        return not task.cancelled

    def _reuse(self, task: Task) -> int:
        """Cut the KV cache back to what it shares with the prompt; return how many tokens that is.

        At least one token is left to compute, for its logits.
        """
        shared = 0
        if task.cache_prompt:
            for ours, theirs in zip(self._in_memory, task.tokens[:-1], strict=False):
                if ours != theirs:
                    break
                shared += 1
        # A sliding window has dropped older entries: what the next token would look at must still be there.
        if shared and self._loaded.window and shared < len(self._in_memory):
            oldest = llama().llama_memory_seq_pos_min(self._memory, 0)
            if oldest > max(0, shared - self._loaded.window):
                shared = 0
        return self._forget(shared)

    def _forget(self, keep: int) -> int:
        """Drop everything after the first `keep` tokens; recurrent models can only drop all."""
        if keep == len(self._in_memory):
            return keep
        if keep == 0 or not llama().llama_memory_seq_rm(self._memory, 0, keep, -1):
            self._clear()
        del self._in_memory[keep:]
        return len(self._in_memory)

    def _clear(self) -> None:
        llama().llama_memory_clear(self._memory, False)
        self._in_memory.clear()

    def _decode(self, batch: ctypes.Structure) -> None:
        self.totals.decode_calls += 1
        if code := llama().llama_decode(self._loaded.context, batch):
            reason = "no room in the KV cache" if code == 1 else f"llama_decode returned {code}"
            raise RuntimeError(f"the computation failed: {reason}")

    def _account(self, task: Task) -> None:
        timing, totals = task.timing, self.totals
        totals.prompt_tokens += timing.processed
        totals.prompt_cached += timing.cached
        totals.prompt_s += timing.prompt_s
        totals.predicted_tokens += timing.decoded
        totals.predicted_steps += timing.steps
        totals.predicted_s += timing.predicted_s
        totals.longest_sequence = max(totals.longest_sequence, len(self._in_memory))
        rates = timing.as_json()
        say(
            f"embedded: request {task.id}: {timing.processed} prompt tokens at {rates['prompt_per_second']:.1f} t/s, "
            f"{timing.decoded} generated at {rates['predicted_per_second']:.1f} t/s"
            f"{', cancelled' if task.cancelled else ''}"
        )
