"""Every parameter of a plan with the reason why it has that value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.solver.drafting import ACCEPTED, drafting_gain
from app.solver.memory import KV_TYPE_BYTES, PROMPT_CACHE_BYTES
from app.solver.model import Policy
from app.solver.objectives import Work
from app.solver.options import UBATCHES, cpu_nodes
from app.solver.placement import Candidate
from app.solver.plan import Parameters, Placement, Term
from app.solver.prefill import prefill_ms
from app.solver.scene import Scene
from app.units import GIB, bytes_text
from detectors.facts import Basis

_YOURS = "as asked"


def choices(
    scene: Scene, work: Work, policy: Policy, placement: Placement, parameters: Parameters, others: Sequence[Candidate]
) -> tuple[Term, ...]:
    """One term for each parameter: its name, its value (`unit` has it where it is a word), and why.

    Args:
        scene: model, machine, constants.
        work: what was timed.
        policy: what the person decided.
        placement: what is where.
        parameters: all of the plan's.
        others: every candidate that the search found.
    """
    return (
        _kv_type(policy, parameters, others),
        _ubatch(scene, work, policy, placement, parameters),
        _load_mode(scene, policy, placement, parameters),
        *_host_experts(scene, work, placement, parameters),
        *_threads(scene, policy, parameters),
        *_numa(scene, parameters),
        _prompt_cache(parameters),
        _drafting(scene, work, placement, parameters),
    )


def _kv_type(policy: Policy, parameters: Parameters, others: Sequence[Candidate]) -> Term:
    kv_type = parameters.kv_type_k
    if policy.kv_type:
        why = _YOURS
    elif kv_type == "f16":
        why = "full precision fits, and no smaller cache would let a faster placement fit"
    else:
        full = [one.seconds for one in others if one.parameters.kv_type_k == "f16"]
        why = "an f16 cache does not fit at all" if not full else "it leaves room for a placement that is faster by"
        if full:
            small = min(one.seconds for one in others if one.parameters.kv_type_k == kv_type)
            why += f" {100 * (min(full) / small - 1):.0f} % than any with an f16 cache"
    return Term("kv_type", KV_TYPE_BYTES[kv_type], kv_type, why, "table")


def _ubatch(scene: Scene, work: Work, policy: Policy, placement: Placement, parameters: Parameters) -> Term:
    size = parameters.ubatch
    if policy.ubatch:
        return Term("ubatch", float(size), "tokens", _YOURS, "table")
    if not work.prompt_tokens:
        return Term("ubatch", float(size), "tokens", "the engine's own; prompts do not count here", "table")
    if size == UBATCHES[0]:
        why = "the engine's own; a larger one makes the turn no shorter by 1 %, and takes memory from experts"
        return Term("ubatch", float(size), "tokens", why, "estimated")
    own, plain = (
        work.seconds(prefill_ms(scene, placement, p, prompt_tokens=work.prompt_tokens), 0.0)
        for p in (parameters, replace(parameters, ubatch=UBATCHES[0]))
    )
    why = f"prompts take {own:.1f} s in place of {plain:.1f} s with the engine's own {UBATCHES[0]}"
    return Term("ubatch", float(size), "tokens", why, "estimated")


def _load_mode(scene: Scene, policy: Policy, placement: Placement, parameters: Parameters) -> Term:
    kinds = {scene.machine.device(device_id).kind for device_id in placement.devices}
    if policy.load_mode:
        why = _YOURS
    elif parameters.load_mode == "mmap":
        why = "without a GPU the file is mapped: it loads once, and programs share its pages"
    elif "igpu" in kinds:
        why = "an APU's driver cannot use a mapped file"
    elif "cpu" in kinds:
        why = "experts in pinned memory are copied to the GPU at the link's full speed, mapped ones are not"
    else:
        why = "all weights are on the GPU: no page of the file has to stay in RAM"
    return Term("load_mode", 0.0, parameters.load_mode, why, "table")


def _host_experts(scene: Scene, work: Work, placement: Placement, parameters: Parameters) -> tuple[Term, ...]:
    """What happens to prompts with experts in host memory, where there are any beside a GPU."""
    kinds = {scene.machine.device(device_id).kind for device_id in placement.devices}
    moved = any(one == "cpu" != two for one, two in zip(placement.experts, placement.attention, strict=True))
    if not moved or not kinds & {"igpu", "dgpu"}:
        return ()
    if not work.prompt_tokens:
        return (Term("host_experts", 0.0, "copied", "the engine's own; prompts do not count here", "table"),)
    ways = {
        "copied": replace(parameters, op_offload=True, no_host=False),
        "in place": replace(parameters, op_offload=False, no_host=False),
        "repacked": replace(parameters, op_offload=True, no_host=True),
    }
    times = {
        way: work.seconds(prefill_ms(scene, placement, p, prompt_tokens=work.prompt_tokens), 0.0)
        for way, p in ways.items()
    }
    own = "repacked" if parameters.no_host else "copied" if parameters.op_offload else "in place"
    words = {
        "copied": "copied to the GPU for prompts",
        "in place": "computed by the CPU as they are (--no-op-offload)",
        "repacked": "repacked for the CPU's kernels (--no-host)",
    }
    rest = ", ".join(f"{words[way]} {times[way]:.1f} s" for way in ways if way != own)
    return (
        Term("host_experts", times[own], own, f"{words[own]}: a prompt takes {times[own]:.1f} s; {rest}", "estimated"),
    )


def _threads(scene: Scene, policy: Policy, parameters: Parameters) -> tuple[Term, ...]:
    cpu = scene.machine.cpu
    fast = "the fast physical cores: decoding waits for memory, and one slow thread holds all back"
    every = "every physical core: prompts are handed out in pieces"
    detected = cpu is not None and cpu.decode_threads is not None
    basis: Basis = "driver" if detected else "estimated"
    return (
        Term("threads", float(parameters.threads), "threads", _YOURS if policy.threads else fast, basis),
        Term("threads_batch", float(parameters.threads_batch), "threads", _YOURS if policy.threads else every, basis),
    )


def _numa(scene: Scene, parameters: Parameters) -> tuple[Term, ...]:
    if not parameters.numa:
        return ()
    nodes = cpu_nodes(scene.machine)
    why = f"{nodes} NUMA nodes: threads and pages are spread over all of them"
    return (Term("numa", float(nodes), parameters.numa, why, "driver"),)


def _prompt_cache(parameters: Parameters) -> Term:
    if parameters.cache_ram_bytes is None:
        why = "the engine's own limit for prompts that it keeps in RAM; there is room for it"
        return Term("cache_ram", PROMPT_CACHE_BYTES / GIB, "GiB", why, "table")
    size = parameters.cache_ram_bytes
    why = f"the plan leaves less than the engine's own {bytes_text(PROMPT_CACHE_BYTES)} of RAM for prompts to keep"
    return Term("cache_ram", size / GIB, "GiB", why if size else f"{why}: none are kept", "estimated")


def _drafting(scene: Scene, work: Work, placement: Placement, parameters: Parameters) -> Term:
    """Off unless asked for: what a draft gains depends on the text, and on kernels that are young."""
    gain = drafting_gain(scene, placement, parameters, context=work.depth)
    if gain is None:
        why = "the file has no layers that could draft tokens"
    elif gain <= 1.05:
        why = "off: two tokens touch so many experts of their own that its NextN layers would not gain by drafting"
    else:
        why = (
            f"off: its NextN layers could gain about {100 * (gain - 1):.0f} % (--spec-type draft-mtp"
            f" --spec-draft-n-max 1) if {ACCEPTED:.0%} of the drafts are right, as DeepSeek-V3's report has it;"
            " measure before you rely on it"
        )
    return Term("draft", float(parameters.draft_tokens), "tokens", why, "estimated")
