"""Every number of a plan by the name that it is asked for."""

from __future__ import annotations

from app.solver.explain.derivation import Derivation
from app.solver.explain.prompts import crossover_text
from app.solver.explain.sizes import memory_derivations
from app.solver.explain.speeds import speed_derivations
from app.solver.plan import Plan, Term
from app.solver.scene import Scene


def derivations(scene: Scene, plan: Plan) -> tuple[Derivation, ...]:
    """Speeds, then memory, then the parameters that were chosen.

    Args:
        scene: model, machine, constants, as the plan was made for.
        plan: what was chosen.
    """
    crossover = crossover_text(scene, plan)
    return (
        *speed_derivations(scene, plan),
        *memory_derivations(scene, plan),
        *(_choice(choice, crossover) for choice in plan.choices),
    )


WORDS = frozenset({"kv_type", "load_mode", "host_experts", "numa", "kt_method"})
"""Choices whose value is a word, which is in their unit."""


def choice_text(choice: Term) -> str:
    """The value of a choice: `2048 tokens`, `q8_0`, `16 threads`."""
    if choice.name in WORDS:
        return choice.unit
    return f"{choice.value:g} {choice.unit}".rstrip()


def _choice(choice: Term, crossover: str) -> Derivation:
    reasons = (choice.why, crossover) if choice.name == "ubatch" and crossover else (choice.why,)
    return Derivation(
        choice.name.replace("_", " "), choice.value, choice.unit, choice_text(choice), "", choice.basis, reasons
    )
