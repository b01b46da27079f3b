"""What a generation took, with the fields and the meaning of llama-server's `timings`."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter


@dataclass(slots=True)
class Timing:
    """Counters of one request. Times are seconds of `perf_counter`, 0 before they are known."""

    cached: int = 0
    """Prompt tokens that the KV cache had already."""
    processed: int = 0
    """Prompt tokens that were computed."""
    decoded: int = 0
    """Tokens that were generated. The first is free: its logits come with the prompt's last batch."""
    started: float = 0.0
    prompt_done: float = 0.0
    """When the first token was there."""
    last_token: float = 0.0

    def count_token(self) -> None:
        """A token was sampled just now."""
        now = perf_counter()
        self.decoded += 1
        if self.decoded == 1:
            self.prompt_done = now
        self.last_token = now

    def end_prompt(self) -> None:
        """The prompt is done and nothing is to be generated."""
        self.prompt_done = perf_counter()

    @property
    def prompt_s(self) -> float:
        """From the start to the first token."""
        return self.prompt_done - self.started if self.prompt_done else 0.0

    @property
    def predicted_s(self) -> float:
        """From the first token to the last."""
        return max(1e-6, self.last_token - self.prompt_done) if self.last_token else 0.0

    @property
    def steps(self) -> int:
        """Decode steps: the tokens after the first."""
        return max(0, self.decoded - 1)

    def as_json(self) -> dict[str, float]:
        """llama-server's `timings` object; rates are 0 where nothing was measured, as it writes them."""
        prompt_ms, predicted_ms = self.prompt_s * 1000, self.predicted_s * 1000
        return {
            "cache_n": self.cached,
            "prompt_n": self.processed,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": prompt_ms / self.processed if self.processed else 0.0,
            "prompt_per_second": self.processed / self.prompt_s if self.prompt_s else 0.0,
            "predicted_n": self.decoded,
            "predicted_ms": predicted_ms,
            "predicted_per_token_ms": predicted_ms / self.steps if self.steps else 0.0,
            "predicted_per_second": self.steps / self.predicted_s if self.predicted_s else 0.0,
        }
