"""Costs as terms in words: what is read, multiplied or waited for, where, and at which rate."""

from __future__ import annotations

from collections.abc import Sequence

from app.solver.coefficients import Coefficient
from app.solver.explain.rates import Rate, Setting, rate_of
from app.solver.plan import Parameters, Placement, Prediction, Term
from app.solver.scene import Cost, Scene
from app.units import rate_text
from detectors.facts import Basis

_BASIS_ORDER: tuple[Basis, ...] = ("measured", "calibrated", "driver", "table", "estimated")


def worst_basis(*bases: Basis) -> Basis:
    """The weakest of several: a sum is known no better than its least known part."""
    return max(bases, key=_BASIS_ORDER.index)


def terms_of(
    scene: Scene, placement: Placement, parameters: Parameters, costs: Sequence[Cost], *, context: int, batch: int
) -> tuple[Term, ...]:
    """Costs as terms, milliseconds per token, largest first; costs of one part and device are one term.

    Their values add up to the costs, divided by `batch`. A term of several costs has each of them in `parts`.

    Args:
        scene: model, machine, constants.
        placement: what is where.
        parameters: threads, load mode.
        costs: of one step.
        context: tokens in the cache, as the words say.
        batch: sequences that share the step.
    """
    setting = Setting(scene, placement, parameters)
    found: dict[tuple[str, str], list[Term]] = {}
    for cost in costs:
        found.setdefault((cost.part, cost.device), []).append(_single(setting, cost, context, batch))
    terms = [_joined(name_of(scene, *key), group) for key, group in found.items()]
    return tuple(sorted(terms, key=lambda term: -term.value))


def name_of(scene: Scene, part: str, device_id: str) -> str:
    """`experts on 8060S`, `crossing to CPU`, `copying to RTX 4090`."""
    device = scene.machine.device(device_id)
    if part == "layers":
        return f"{'barriers' if device.kind == 'cpu' else 'launches'} on {scene.machine.label(device_id)}"
    named = {
        "attention": "attention on" if scene.shape.is_moe else "layer weights on",
        "head": "output head on",
        "kv": "KV cache on",
        "crossing": "crossing to",
        "RPC": "calls to",
        "streaming": "copying to",
    }
    return f"{named.get(part, f'{part} on')} {scene.machine.label(device_id)}"


def _joined(name: str, terms: list[Term]) -> Term:
    if len(terms) == 1:
        return terms[0]
    first = terms[0]
    # The parts share a name, so that theirs say what they are.
    parts = tuple(sorted(terms, key=lambda term: -term.value))
    return Term(
        name,
        sum(term.value for term in terms),
        "ms",
        "; ".join(term.why for term in parts),
        worst_basis(*(term.basis for term in terms)),
        first.part,
        first.device,
        parts=parts,
    )


def _single(setting: Setting, cost: Cost, context: int, batch: int) -> Term:
    constant = setting.scene.coefficients.values[cost.coefficient]
    rate = rate_of(setting, cost)
    value = cost.quantity * constant.value / batch
    shared = f", shared by {batch} sequences" if batch > 1 else ""
    depth = f", {context} tokens deep" if cost.part == "kv" else ""
    why = f"{rate.text}{depth}{shared}"
    return Term(
        name_of(setting.scene, cost.part, cost.device),
        value,
        "ms",
        why,
        basis_of(constant, rate),
        cost.part,
        cost.device,
        cost.coefficient,
        cost.quantity / batch,
    )


def basis_of(constant: Coefficient, rate: Rate) -> Basis:
    """How a product is known: a constant that was measured here makes up for a bandwidth that was not."""
    if constant.basis in ("measured", "calibrated"):
        return constant.basis
    return worst_basis(constant.basis, rate.basis)


def speed_text(prediction: Prediction) -> str:
    """A predicted speed: `44.7 t/s (39 to 50), estimated`."""
    return (
        f"{rate_text(prediction.tokens_per_s)} t/s"
        f" ({rate_text(prediction.low)} to {rate_text(prediction.high)}), {prediction.basis}"
    )
