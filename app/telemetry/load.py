"""Load on an endpoint: bursts of concurrent streams, and what their clients saw of them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from app.errors import EngineFailedError
from app.telemetry.completion import Answer, Completion, RefusedError
from app.telemetry.endpoint import Endpoint

_SYLLABLES = ("ba", "ko", "ri", "tu", "sel", "mo", "den", "fa", "li", "pur", "ga", "ne", "vo", "sti", "ra", "cu")
_PROBE_WORDS = (8, 72)
_WARM_UP_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Burst:
    """Streams that began at the same time."""

    answers: tuple[Answer, ...]

    @property
    def prefill_tps(self) -> float | None:
        """Prompt tokens of all streams over the time until the last of them had its first token."""
        counts = [one.prompt_tokens for one in self.answers]
        firsts = [one.first_at for one in self.answers if one.first_at is not None]
        known = [count for count in counts if count is not None]
        if len(known) < len(counts) or len(firsts) < len(counts):
            return None
        return sum(known) / (max(firsts) - min(one.sent_at for one in self.answers))

    @property
    def decode_tps(self) -> float | None:
        """Tokens of all streams after each one's first, over the time from the first of these to the last token."""
        firsts = [one.first_at for one in self.answers if one.first_at is not None]
        steps = sum(one.tokens - 1 for one in self.answers if one.first_at is not None)
        spent = max(one.last_at for one in self.answers) - min(firsts, default=0.0)
        return steps / spent if firsts and steps > 0 and spent > 0 else None

    @property
    def throughput_tps(self) -> float:
        """Generated tokens of all streams over the whole time, prompts included."""
        spent = max(one.last_at for one in self.answers) - min(one.sent_at for one in self.answers)
        return sum(one.tokens for one in self.answers) / spent if spent > 0 else 0.0


def latencies(bursts: Sequence[Burst]) -> dict[str, float]:
    """Time to first token and time per token after it, 50th and 95th percentile over all answers; and throughput."""
    answers = [one for burst in bursts for one in burst.answers if one.first_at is not None]
    ttft = [1000 * (one.first_at - one.sent_at) for one in answers if one.first_at is not None]
    tpot = [
        1000 * (one.last_at - one.first_at) / (one.tokens - 1)
        for one in answers
        if one.first_at is not None and one.tokens > 1
    ]
    found = {"throughput_tps": median(burst.throughput_tps for burst in bursts)}
    for name, values in (("ttft_ms", ttft), ("tpot_ms", tpot)):
        if values:
            found |= {f"{name}_p50": percentile(values, 0.5), f"{name}_p95": percentile(values, 0.95)}
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which that share of all lies, on the straight line between its neighbours.

    Args:
        values: at least one.
        share: 0 to 1.
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


class Load:
    """Puts load on one endpoint. No prompt is like another: a prefix cache answers none of them.

    Args:
        endpoint: where to ask; what it refuses of the extras is left out from then on.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._words = random.Random(time.time_ns())  # no secret, and no two runs alike
        self._fixed_tokens, self._tokens_per_word = 0.0, 1.0

    def prepare(self) -> None:
        """Wake the endpoint up, and learn how many tokens its words and its chat template are.

        Raises:
            EngineFailedError: it does not answer, or refuses.
        """
        try:
            few = self._ask(_PROBE_WORDS[0])
        except RefusedError:
            self._endpoint = self._endpoint.without_extras()
            few = self._ask(_PROBE_WORDS[0])
        many = self._ask(_PROBE_WORDS[1])
        counts = [one.prompt_tokens + one.cached_tokens for one in (few, many) if one.prompt_tokens is not None]
        if len(counts) == 2 and counts[1] > counts[0]:
            self._tokens_per_word = (counts[1] - counts[0]) / (_PROBE_WORDS[1] - _PROBE_WORDS[0])
            self._fixed_tokens = counts[0] - _PROBE_WORDS[0] * self._tokens_per_word

    def burst(self, *, streams: int, prompt_tokens: int, generated: int) -> Burst:
        """That many answers at once; leaving by an exception such as Ctrl-C cuts all of them off.

        Raises:
            RefusedError: the endpoint refuses one of them.
            EngineFailedError: it does not answer, or breaks off.
        """
        words = max(1, round((prompt_tokens - self._fixed_tokens) / self._tokens_per_word))
        prompts = [self._prompt(words) for _ in range(streams)]
        requests = [Completion(self._endpoint) for _ in range(streams)]
        found: dict[int, Answer | EngineFailedError] = {}

        def work(index: int) -> None:
            try:
                found[index] = requests[index].run(prompts[index], tokens=generated)
            except EngineFailedError as error:
                found[index] = error

        threads = [threading.Thread(target=work, args=(index,), daemon=True) for index in range(streams)]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            for request in requests:
                request.cut()
            raise
        results = [found[index] for index in range(streams)]
        failed = [one for one in results if isinstance(one, EngineFailedError)]
        if failed:
            raise failed[0]
        return Burst(tuple(one for one in results if isinstance(one, Answer)))

    def _ask(self, words: int) -> Answer:
        return Completion(self._endpoint).run(self._prompt(words), tokens=_WARM_UP_TOKENS)

    def _prompt(self, words: int) -> str:
        return " ".join("".join(self._words.choices(_SYLLABLES, k=2)) for _ in range(words))
