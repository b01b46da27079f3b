"""The placements that lost, each with its reason: slower, as fast on more devices, or too large."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.solver.budget import Shortfall, needed_bytes, shortfall
from app.solver.explain import placement_text
from app.solver.model import ModelShape, Policy, Workload
from app.solver.objectives import Work, reported, work_of
from app.solver.placement import Candidate
from app.solver.plan import Alternative, Parameters, Placement, Prediction
from app.solver.prediction import decode_speed, predict_decode
from app.solver.prefill import prefill_ms
from app.solver.scene import Scene
from app.units import bytes_text, count_text
from detectors.facts import Device, Machine

MOST = 6
"""Runners-up that are named beside the plain placements on one device."""


def runners_up(
    scene: Scene, workload: Workload, chosen: Candidate, found: Iterable[Candidate], lacking: Sequence[Shortfall]
) -> tuple[Alternative, ...]:
    """The best placement of every other kind, fastest first; those that do not fit come last."""
    work = work_of(workload)
    best: dict[object, Candidate] = {}
    for candidate in sorted(found, key=lambda one: one.seconds):
        # Every kind of placement with the cache that was chosen; with another one, only the best.
        same = candidate.parameters.kv_type_k == chosen.parameters.kv_type_k
        best.setdefault(_kind(candidate) if same else candidate.parameters.kv_type_k, candidate)
    best.pop(_kind(chosen), None)
    ranked = list(best.values())
    alone = [candidate for candidate in ranked[MOST:] if len(candidate.devices) == 1]
    reference = timed(scene, work, chosen.placement, chosen.parameters)
    answers = [_slower(scene, workload, chosen, reference, candidate) for candidate in (*ranked[:MOST], *alone)]
    answers.sort(key=lambda one: one.turn_s or 0.0)
    labels = {answer.label for answer in answers}
    for lack in sorted(lacking, key=lambda one: one.missing_bytes):
        label = placement_text(scene.machine, lack.placement, scene.shape)
        if label not in labels:
            labels.add(label)
            answers.append(Alternative(label, None, _lack_text(lack), lack.missing_bytes))
    return tuple(answers)


def timed(scene: Scene, work: Work, placement: Placement, parameters: Parameters) -> tuple[Prediction, float, float]:
    """The decode speed of a placement, seconds of all prompts of the work, and seconds of it all."""
    decode = predict_decode(scene, placement, parameters, context=work.depth, batch=work.batch)
    prompt_ms = 0.0
    if work.prompt_tokens:
        prompt_ms = prefill_ms(scene, placement, parameters, prompt_tokens=work.prompt_tokens)
    return decode, work.seconds(prompt_ms, 0.0), work.seconds(prompt_ms, decode.ms_per_token * work.batch)


def against_alone(scene: Scene, workload: Workload, chosen: Candidate, found: Iterable[Candidate]) -> tuple[str, ...]:
    """By how much the chosen placement decodes faster than the best device alone, from an empty context to a full one.

    Nothing where it is on one device itself, or where no device holds the model.
    """
    alone = [one for one in found if len(one.devices) == 1]
    if len(chosen.devices) == 1 or not alone:
        return ()
    best = min(alone, key=lambda one: one.seconds)
    label = placement_text(scene.machine, best.placement, scene.shape)
    parts = []
    for depth in sorted({workload.context * part // 3 // 1024 * 1024 for part in range(4)}):
        ours, theirs = (decode_speed(scene, one.placement, one.parameters, context=depth) for one in (chosen, best))
        times = f"{ours / theirs:.1f} times" if ours >= 3 * theirs else f"{100 * (ours / theirs - 1):+.0f} %"
        parts.append(f"{times} at {count_text(depth)}")
    return (f"Its decode speed against {label}: {', '.join(parts)} tokens of context.",)


def lacking_alone(
    machine: Machine, shape: ModelShape, devices: Iterable[Device], parameters: Parameters, policy: Policy
) -> list[Shortfall]:
    """What each device lacks to hold the whole model by itself."""
    found = []
    for device in devices:
        placement = Placement.on(device.id, (device.id,) * len(shape.layers))
        lack = shortfall(machine, needed_bytes(shape, placement, parameters), placement, policy)
        if lack is not None:
            found.append(lack)
    return found


def _kind(candidate: Candidate) -> tuple[frozenset[str], frozenset[str]]:
    """What makes two placements the same in other amounts: who attends, and who has a part."""
    return frozenset(device for device, _ in candidate.blocks), candidate.devices


def _slower(
    scene: Scene, workload: Workload, chosen: Candidate, reference: tuple[Prediction, float, float], other: Candidate
) -> Alternative:
    work = work_of(workload)
    placement = other.placement
    decode, prompt_s, seconds = timed(scene, work, placement, other.parameters)
    best_decode, best_prompt_s, best_seconds = reference
    change = 100 * (best_seconds / seconds - 1)
    label = placement_text(scene.machine, placement, scene.shape)
    if abs(change) < 3.0:
        why = f"as fast within what can be predicted ({change:+.0f} %)"
        if len(other.devices) > len(chosen.devices):
            why += ", but on more devices"
    elif work.prompt_tokens and prompt_s - best_prompt_s > (seconds - best_seconds) / 2:
        why = f"{change:+.0f} %: the prompt takes {prompt_s:.1f} s in place of {best_prompt_s:.1f} s"
    else:
        dearest = _dearest(best_decode, decode)
        why = f"{change:+.0f} %: {dearest[0]} takes {dearest[1]:.1f} of {decode.ms_per_token:.1f} ms"
        if work.depth > 2 * workload.mean_context:
            why += f" at {count_text(work.depth)} tokens"
    if other.parameters.kv_type_k != chosen.parameters.kv_type_k:
        why += f", with a {other.parameters.kv_type_k} KV cache"
    first = reported(workload)
    speed = decode_speed(scene, placement, other.parameters, context=first.depth, batch=first.batch)
    # The prompt comes first whatever the depth is that placements are judged at: it takes as long.
    return Alternative(label, speed, why, turn_s=prompt_s + first.seconds(0.0, 1000.0 * first.batch / speed))


def _dearest(best: Prediction, other: Prediction) -> tuple[str, float]:
    """The term that costs most beyond what the best plan pays for the same."""
    paid = {term.name: term.value for term in best.terms}
    term = max(other.terms, key=lambda one: one.value - paid.get(one.name, 0.0))
    return term.name, term.value


def _lack_text(lack: Shortfall) -> str:
    return f"does not fit {lack.device.label}: {bytes_text(lack.missing_bytes)} too little"
