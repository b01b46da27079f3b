"""What a benchmark measures: the contexts and batches that people publish, cut where the plan ends."""

from __future__ import annotations

from dataclasses import dataclass

from app.runtimes.batched_sweep import CELLS, SweepPass
from app.solver.plan import Plan
from app.units import count_text

CONTEXTS = (0, 512, 2048, 4096, 8192, 16384, 24576, 32768, 65536, 98304)
"""Up to 96K as published sweeps have them; 512 is the shortest prompt, which an empty context has none of."""
BATCHES = (1, 2, 4, 8, 16)
BATCH_CONTEXTS = (0, 32768)
"""Where several sequences are measured, if these are among the contexts; else at the shortest."""
GENERATED = 128
QUICK_CONTEXTS, QUICK_BATCHES, QUICK_GENERATED = (0, 512, 4096, 16384), (1, 4), 32
FLOOR_TPS = 10.0
"""Longer contexts are left out when one sequence decodes slower."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a person asks to be measured."""

    contexts: tuple[int, ...] = CONTEXTS
    batches: tuple[int, ...] = BATCHES
    generated: int = GENERATED
    """Tokens that each sequence generates."""
    floor_tps: float = FLOOR_TPS
    again: bool = False
    """Measure what was measured before under the same conditions, too."""

    @property
    def batch_contexts(self) -> tuple[int, ...]:
        """Where several sequences are measured."""
        return tuple(one for one in BATCH_CONTEXTS if one in self.contexts) or self.contexts[:1]


@dataclass(frozen=True, slots=True)
class Wanted:
    """One point to measure."""

    context: int
    batch: int
    prompt_tokens: int
    """In the cache of each sequence before it generates: shorter than the context where the plan just holds that."""
    generated: int


def wanted_points(plan: Plan, sweep: Sweep) -> tuple[tuple[Wanted, ...], tuple[str, ...]]:
    """The points that the plan's context holds, in the order to measure them; and a sentence for each cut."""
    found: list[Wanted] = []
    cuts: list[str] = []
    alone = [1] if 1 in sweep.batches else []
    together = [batch for batch in sorted(sweep.batches) if batch > 1]
    asked = [(sorted(sweep.contexts), alone), *(([context], together) for context in sweep.batch_contexts)]
    for contexts, batches in asked:
        pairs = [(context, batch) for context in contexts for batch in batches]
        held = [one for pair in pairs if (one := _held(plan, *pair, sweep.generated))]
        found += held
        left_out = [pair for pair in pairs if pair not in {(one.context, one.batch) for one in held}]
        if left_out:
            cuts.append(_cut_text(plan, left_out))
    return tuple(found), tuple(cuts)


def all_points(sweep: Sweep) -> tuple[Wanted, ...]:
    """Every point of a sweep, in the order to measure them, whatever may hold them."""
    alone = [(context, 1) for context in sorted(sweep.contexts) if 1 in sweep.batches]
    together = [(context, batch) for context in sweep.batch_contexts for batch in sorted(sweep.batches) if batch > 1]
    return tuple(Wanted(context, batch, context, sweep.generated) for context, batch in (*alone, *together))


def _held(plan: Plan, context: int, batch: int, generated: int) -> Wanted | None:
    """The point, if each of the sequences has that context by the plan's memory."""
    share = plan.parameters.context // batch // CELLS * CELLS if batch > 1 else plan.workload.context
    room = min(share, plan.workload.context) - generated
    if context > room + generated or room < 0 or (context and room < 1):
        return None
    return Wanted(context, batch, min(context, room), generated)


def _cut_text(plan: Plan, left_out: list[tuple[int, int]]) -> str:
    context, batch = left_out[0]
    total = count_text(plan.parameters.context)
    if batch == 1:
        return f"Contexts from {count_text(context)} on were left out: the plan's context ends at {total}."
    return (
        f"{batch} and more sequences of {count_text(context)} were left out: the plan's context of {total} does not"
        " hold them; plan it with --context and --parallel."
    )


def passes_of(points: tuple[Wanted, ...]) -> tuple[SweepPass, ...]:
    """The fewest starts of the tool that time these points and no others."""
    found: list[SweepPass] = []
    alone = [one for one in points if one.batch == 1]
    if alone:
        found.append(SweepPass(tuple(dict.fromkeys(one.prompt_tokens for one in alone)), (1,), alone[0].generated))
    for context in dict.fromkeys(one.context for one in points if one.batch > 1):
        together = [one for one in points if one.batch > 1 and one.context == context]
        # A full context leaves some batches a shorter prompt than others: those are starts of their own.
        for prompt in dict.fromkeys(one.prompt_tokens for one in together):
            batches = tuple(one.batch for one in together if one.prompt_tokens == prompt)
            found.append(SweepPass((prompt,), batches, together[0].generated))
    return tuple(found)
