"""What a plan is good for, as seconds of the work that is asked: the less, the better."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.solver.model import Workload


@dataclass(frozen=True, slots=True)
class Work:
    """The tokens that are timed."""

    prompt_tokens: int
    """Of one sequence, into an empty cache; 0: prompts do not count."""
    output_tokens: int
    depth: int
    """Tokens in the cache of each sequence while it answers: the mean."""
    batch: int
    """Sequences that answer together."""

    def seconds(self, prefill_ms: float, step_ms: float) -> float:
        """Of all prompts, one after the other, and all answers together.

        Args:
            prefill_ms: of one prompt token.
            step_ms: of one token for every sequence.
        """
        return (self.batch * self.prompt_tokens * prefill_ms + self.output_tokens * step_ms) / 1000


def work_of(workload: Workload) -> Work:
    """What the objective times.

    `turn`: one user's prompt and answer. `throughput`: a prompt and an answer of every user, the answers at once.
    `context`: an answer at the end of a full context. Who asks for a long context means to fill it: over such a
    conversation answers come at half of it, and a placement that is best for the first of them only is a trap.
    """
    if workload.objective == "context":
        return Work(0, workload.output_tokens, workload.context, 1)
    batch = workload.parallel if workload.objective == "throughput" else 1
    depth = max(workload.mean_context, workload.context // 2)
    return Work(min(workload.prompt_tokens, workload.context), workload.output_tokens, depth, batch)


def reported(workload: Workload) -> Work:
    """What a plan's speed is stated for: the first turn of a conversation, or the end of a full context."""
    work = work_of(workload)
    return work if workload.objective == "context" else replace(work, depth=workload.mean_context)
