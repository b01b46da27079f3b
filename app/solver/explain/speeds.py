"""The derivation of speeds: from a token's time to the bytes, bandwidths and constants that it is made of."""

from __future__ import annotations

from app.solver.decode import read_bandwidth
from app.solver.explain.derivation import Derivation
from app.solver.explain.rates import Rate, Setting, counted, rate_of, time_text
from app.solver.explain.sizes import CLASSES
from app.solver.model import ModelShape
from app.solver.objectives import reported
from app.solver.plan import Plan, Prediction, Term
from app.solver.prediction import placement_class
from app.solver.scene import Cost, Scene
from app.units import bytes_text, rate_text

TOLD = 0.002
"""Bytes are said to be certain weights where they are so to this share."""


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
    calibrated = scene.coefficients.calibrated
    rows = "measurements of this machine" if calibrated else "published measurements"
    reasons.append(
        f"range: nine of ten {rows} with this kind of placement ({kind}) should lie between {low:.2f} and {high:.2f}"
        " times what is predicted for them"
    )
    if calibrated:
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
    work = reported(plan.workload)
    users = f"{work.batch} x " if work.batch > 1 else ""
    prompt = f"{users}{work.prompt_tokens} x {prefill.ms_per_token:.4g} ms + " if work.prompt_tokens else ""
    answer = f"{users}{work.output_tokens} x {plan.decode.ms_per_token:.4g} ms"
    reasons = [f"an answer of {work.output_tokens} tokens (--output-tokens), at {work.depth} tokens of context"]
    if work.prompt_tokens:
        reasons.insert(0, f"a prompt of {work.prompt_tokens} tokens (--prompt-tokens)")
    if work.batch > 1:
        reasons.append(f"{work.batch} users: their prompts one after the other, their answers together")
    equation = f"{prompt}{answer} = {turn_s:.1f} s"
    return Derivation("turn", turn_s, "s", f"{turn_s:.1f} s", equation, plan.decode.basis, tuple(reasons))


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
    """What the bytes or operations of a term are, where they are bytes that can be told."""
    if not rate.amount:
        return []
    constant = scene.coefficients.values[term.coefficient]
    tokens = prediction.batch
    decoding = speed == "decode"
    if constant.unit == "ms at peak bandwidth":
        if term.part == "kv" and decoding:
            return [f"{rate.amount}: {_cache(scene.shape, plan, term, prediction)}"]
        # A term is of one token; what is read is read once for all tokens of a step or a ubatch.
        size = term.quantity * read_bandwidth(scene.machine.device(term.device))[0] * 1e6 * tokens
        words, expected = _read(scene.shape, plan, term, tokens)
        if expected and abs(size / expected - 1) < TOLD:
            return [f"{rate.amount}: {words}{'' if decoding else f', once for every {tokens} tokens'}"]
    if term.part == "streaming":
        return [f"{rate.amount}: what {tokens} tokens touch of the experts in host memory, once for all of them"]
    return []


def _read(shape: ModelShape, plan: Plan, term: Term, tokens: int) -> tuple[str, float]:
    """The weights that a term reads, and their bytes."""
    if term.part == "attention":
        layers = [shape.layers[i] for i in plan.placement.attention_layers(term.device)]
        *names, last = [name for name, size in CLASSES if any(size(layer) for layer in layers)]
        what = f"{', '.join(names)} and {last}" if names else last
        return f"{what} of {counted(len(layers), 'layer')}", sum(layer.resident_bytes for layer in layers)
    if term.part == "head":
        return f"the output matrix, {shape.vocabulary} rows of {shape.d_model}, and the last norm", shape.head_bytes
    if term.part == "experts" and shape.expert_count:
        owned = [shape.layers[i] for i in plan.placement.expert_layers(term.device)]
        layers = [layer for layer in owned if layer.expert_bytes]
        # KTransformers' GPU computes its own share of every layer.
        elsewhere = plan.placement.resident_experts / shape.expert_count if term.device == "cpu" else 0.0
        size = sum(layer.expert_bytes for layer in layers) * (1 - elsewhere)
        used, count = shape.expert_used, shape.expert_count
        share = 1 - (1 - used / count) ** tokens
        whole = f"the {bytes_text(round(size))} of experts in {counted(len(layers), 'layer')}"
        some = f"{used} of {count}" if tokens == 1 else f"{100 * share:.0f} %, 1 - (1 - {used}/{count})^{tokens},"
        return f"{some} of {whole}", size * share
    return "", 0.0


def _cache(shape: ModelShape, plan: Plan, term: Term, prediction: Prediction) -> str:
    """What of the cache a token reads: rows of tokens, or states of fixed size, which have costs of their own."""
    layers = [shape.layers[i] for i in plan.placement.attention_layers(term.device)]
    counts = {kind: sum(1 for layer in layers if layer.kind == kind) for kind in ("full", "swa", "recurrent")}
    depth = prediction.at_context
    if counts["recurrent"] and not term.coefficient.startswith("kv"):
        return f"{counted(counts['recurrent'], 'layer')} read and write a state of fixed size"
    words = []
    if counts["full"]:
        words.append(f"{counted(counts['full'], 'layer')} read all {depth} tokens")
    if counts["swa"]:
        words.append(f"{counted(counts['swa'], 'layer')} the last {min(depth, shape.window or depth)}")
    return f"{', '.join(words)} ({plan.parameters.kv_type_k})"
