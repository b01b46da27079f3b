"""The derivation of speeds: from a token's time to the bytes, bandwidths and constants that it is made of."""

from __future__ import annotations

from app.solver.explain.derivation import Derivation
from app.solver.explain.rates import Rate, Setting, rate_of, time_text
from app.solver.model import ModelShape
from app.solver.plan import Plan, Prediction, Term
from app.solver.prediction import placement_class
from app.solver.scene import Cost, Scene
from app.units import bytes_text, rate_text


def speed_derivations(scene: Scene, plan: Plan) -> tuple[Derivation, ...]:
    """`decode`, `prefill` and `turn`; a prediction that the plan lacks is left out."""
    found = [_speed(scene, plan, "decode", plan.decode)]
    if plan.prefill is not None:
        found.append(_speed(scene, plan, "prefill", plan.prefill))
        if plan.turn_s is not None:
            found.append(_turn(plan, plan.prefill, plan.turn_s))
    return tuple(found)


def _speed(scene: Scene, plan: Plan, name: str, prediction: Prediction) -> Derivation:
    kind = placement_class(scene, plan.placement)
    low, high = prediction.low / prediction.tokens_per_s, prediction.high / prediction.tokens_per_s
    reasons = [f"{prediction.ms_per_token:.4g} ms is what the {len(prediction.terms)} terms below add up to"]
    if name == "decode":
        several = f", {prediction.batch} sequences at once" if prediction.batch > 1 else ""
        reasons.append(f"with {prediction.at_context} tokens in the cache{several}")
    else:
        reasons.append(f"the mean over a prompt of {prediction.at_context} tokens, {prediction.batch} at once")
    reasons.append(
        f"range: nine of ten published measurements of this kind of placement ({kind}) lie between"
        f" {low:.2f} and {high:.2f} times what is predicted for them"
    )
    if calibrated := scene.coefficients.calibrated:
        reasons.append(f"constants calibrated on this machine, under {calibrated}")
    return Derivation(
        name,
        prediction.tokens_per_s,
        "t/s",
        f"{rate_text(prediction.tokens_per_s)} t/s ({rate_text(prediction.low)} to {rate_text(prediction.high)})",
        f"1000 / {prediction.ms_per_token:.4g} ms = {rate_text(prediction.tokens_per_s)} t/s",
        prediction.basis,
        tuple(reasons),
        tuple(_term(scene, plan, name, term, prediction) for term in prediction.terms),
    )


def _turn(plan: Plan, prefill: Prediction, turn_s: float) -> Derivation:
    work = plan.workload
    prompt = min(work.prompt_tokens, work.context)
    return Derivation(
        "turn",
        turn_s,
        "s",
        f"{turn_s:.1f} s",
        f"{prompt} x {prefill.ms_per_token:.3g} ms + {work.output_tokens} x {plan.decode.ms_per_token:.3g} ms",
        plan.decode.basis,
        (
            f"{prompt} tokens of prompt (--prompt-tokens), then {work.output_tokens} of answer (--output-tokens)",
            f"answered at {plan.decode.at_context} tokens of context, the middle of the answer",
        ),
    )


def _term(scene: Scene, plan: Plan, speed: str, term: Term, prediction: Prediction) -> Derivation:
    value = time_text(term.value)
    if term.parts:
        parts = tuple(_part(scene, plan, speed, part, prediction) for part in term.parts)
        return Derivation(term.name, term.value, "ms", value, "", term.basis, (), parts)
    one = _part(scene, plan, speed, term, prediction)
    return Derivation(term.name, term.value, "ms", value, one.equation, term.basis, one.reasons)


def _part(scene: Scene, plan: Plan, speed: str, term: Term, prediction: Prediction) -> Derivation:
    constant = scene.coefficients.values[term.coefficient]
    # A decode term is a token's; its cost is of the step that several sequences share.
    sharing = prediction.batch if speed == "decode" else 1
    setting = Setting(scene, plan.placement, plan.parameters)
    rate = rate_of(setting, Cost(term.part, term.device, term.coefficient, term.quantity * sharing))
    shared = f" / {sharing} sequences" if sharing > 1 else ""
    reasons = [*_amount(scene, plan, speed, term, rate, prediction)]
    if rate.rated:
        reasons.append(rate.rated)
    reasons.append(
        f"{constant.value:.4g} (90 %: {constant.low:.4g} to {constant.high:.4g}): {constant.why}; {constant.source}"
    )
    return Derivation(
        term.coefficient,
        term.value,
        "ms",
        time_text(term.value),
        f"{rate.quantity} x {constant.value:.4g}{shared} = {time_text(term.value)}",
        term.basis,
        tuple(reasons),
    )


def _amount(scene: Scene, plan: Plan, speed: str, term: Term, rate: Rate, prediction: Prediction) -> list[str]:
    """What the bytes or operations of a term are."""
    shape, placement = scene.shape, plan.placement
    constant = scene.coefficients.values[term.coefficient]
    if constant.unit != "ms at peak bandwidth" and term.part != "streaming":
        return [rate.amount] if rate.amount else []
    once = "" if speed == "decode" else f", once for every {prediction.batch} tokens"
    if term.part == "attention":
        layers = len(placement.attention_layers(term.device))
        what = "attention, norms, router, shared experts and dense networks"
        return [f"{rate.amount}: {what} of {layers} layers{once}"]
    if term.part in ("experts", "streaming"):
        return [f"{rate.amount}: {_experts(shape, plan, speed, term, prediction)}{once}"]
    if term.part == "head":
        return [f"{rate.amount}: the output matrix, {shape.vocabulary} rows of {shape.d_model}, and the last norm"]
    if term.part == "kv" and speed == "decode":
        return [f"{rate.amount}: {_cache(shape, plan, term.device, prediction)}"]
    return [f"{rate.amount}{once}"]


def _experts(shape: ModelShape, plan: Plan, speed: str, term: Term, prediction: Prediction) -> str:
    owned = [i for i in plan.placement.expert_layers(term.device) if shape.layers[i].expert_bytes]
    size = sum(shape.layers[i].expert_bytes for i in owned)
    if term.part == "streaming" or not owned:
        return f"the experts in host memory that a ubatch of {prediction.batch} tokens touches"
    tokens = prediction.batch
    share = 1 - (1 - shape.expert_used / shape.expert_count) ** tokens if shape.expert_count else 1.0
    whole = f"{bytes_text(size)} of experts in {len(owned)} layers"
    if tokens == 1:
        return f"{shape.expert_used} of {shape.expert_count} of the {whole}"
    return f"{100 * share:.0f} % of the {whole}: 1 - (1 - {shape.expert_used}/{shape.expert_count})^{tokens}"


def _cache(shape: ModelShape, plan: Plan, device_id: str, prediction: Prediction) -> str:
    layers = [shape.layers[i] for i in plan.placement.attention_layers(device_id)]
    counts = {kind: sum(1 for layer in layers if layer.kind == kind) for kind in ("full", "swa", "recurrent")}
    words = []
    if counts["full"]:
        words.append(f"{counts['full']} layers read all {prediction.at_context} tokens")
    if counts["swa"]:
        words.append(f"{counts['swa']} the last {min(prediction.at_context, shape.window or prediction.at_context)}")
    if counts["recurrent"]:
        words.append(f"{counts['recurrent']} read and write a state of fixed size")
    return ", ".join(words) + f" ({plan.parameters.kv_type_k})"
