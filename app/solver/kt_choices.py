"""The parameters of a KTransformers plan with their reasons, and what a person has to do before it runs."""

from __future__ import annotations

from collections.abc import Mapping

from app.solver.kt_methods import METHODS, Method, missing_isa, uses_amx
from app.solver.model import ModelShape
from app.solver.plan import Parameters, Term
from detectors.facts import Machine


def kt_choices(
    machine: Machine, method: Method, parameters: Parameters, others: Mapping[str, float]
) -> tuple[Term, ...]:
    """One term for each parameter: name, value (`unit` has it where it is a word), and why.

    Args:
        machine: where it is to run.
        method: the one that was chosen.
        parameters: with those of KTransformers.
        others: seconds of the work with the best configuration of every method that can be used.
    """
    kt = parameters.kt
    assert kt is not None
    return (
        Term("kt_method", method.bytes_per_weight, method.name, _method_text(machine, method, others), "table"),
        Term("kt_cpuinfer", float(kt.cpu_threads), "threads",
             "fast physical cores, never their second threads, less one for each GPU's own thread", "driver"),
        Term("kt_threadpool_count", float(kt.pools), "pools", _pools_text(kt.pools), "driver"),
        Term("kt_num_gpu_experts", float(kt.resident_experts), "experts a layer",
             "as many as the GPU holds beside attention, cache and SGLang's own reserve", "estimated"),
        Term("chunked_prefill_size", float(kt.chunked_prefill), "tokens",
             "the fastest of those whose buffers host and GPU hold", "estimated"),
        Term("kt_gpu_prefill", float(kt.gpu_prefill_tokens), "tokens", _streaming_text(method, kt.gpu_prefill_tokens),
             "estimated"),
    )  # fmt: skip


def kt_notes(machine: Machine, shape: ModelShape, method: Method, parameters: Parameters) -> tuple[str, ...]:
    """What has to be there before it runs, and what to beware of."""
    kt = parameters.kt
    assert kt is not None
    found = [f"KTransformers needs other weights than a GGUF: {method.weights}, of {shape.name}."]
    if method.name.startswith("AMX"):
        found.append(
            f"Convert with --threadpool-count {kt.pools}: converted weights fit one number of pools, and another one"
            " crashes the server."
        )
    if method.caution:
        found.append(f"{method.caution}.")
    if machine.cpu is not None and "avx512f" not in machine.cpu.isa:
        found.append("kt-kernel's AVX2 kernels compute FP8 prompts about 8 times as slowly as those for AVX-512.")
    return tuple(found)


def _method_text(machine: Machine, method: Method, others: Mapping[str, float]) -> str:
    amx = method.name.startswith("AMX") and uses_amx(machine.cpu)
    kernels = "AMX" if amx else "AVX-512" if machine.cpu and "avx512f" in machine.cpu.isa else "AVX2"
    text = f"computed with {kernels}"
    own = others.get(method.name, 0.0)
    rest = [f"{name} {seconds:.1f} s" for name, seconds in others.items() if name != method.name]
    if rest:
        text += f": the work takes {own:.1f} s; {', '.join(rest)}"
    lacking = {one.name: missing_isa(one, machine.cpu) for one in METHODS if missing_isa(one, machine.cpu)}
    if lacking:
        text += "; impossible here: " + ", ".join(f"{name} (no {words[0]})" for name, words in lacking.items())
    return text


def _pools_text(pools: int) -> str:
    return "one for each NUMA node" if pools > 1 else "one NUMA node, or a width that cannot be shared by more"


def _streaming_text(method: Method, tokens: int) -> str:
    if tokens:
        return "prompts as long are computed layer by layer on the GPU, which is faster than the processor"
    return "never: the processor is as fast" if method.layerwise else f"{method.name} cannot be streamed to the GPU"
