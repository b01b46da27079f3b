"""KTransformers' CPU kernels as measurements: one layer of a model's experts, timed by itself."""

from __future__ import annotations

from collections.abc import Iterator

from app.errors import MoetuneError
from app.models.spec import ModelSpec
from app.runtimes.kt_kernels import METHODS, KtLayer, find_python, time_layer
from app.solver.model import LayerShape, ModelShape
from app.solver.plan import KtParameters, Parameters, Placement
from app.tuner.measurement import Measurement
from app.tuner.session import Began, Event, Skipped

BYTES_PER_WEIGHT = {"AMXINT4": 0.506, "AMXINT8": 1.006, "BF16": 2.0}
"""Of the files that kt-kernel's converter writes, scales included (measured on 0.7.2)."""
PROMPT = 512
REPETITIONS = 5
LIMIT_S = 60.0
NAME = "kt-kernel"


def time_kernels(spec: ModelSpec, threads: int, *, limit_s: float = LIMIT_S) -> Iterator[Event]:
    """Time each method that kt-kernel has here for that model's experts; a `Skipped` says why not."""
    python = find_python()
    if python is None:
        yield Skipped(NAME, "n/a: kt-kernel is not installed")
        return
    if not spec.experts:
        yield Skipped(NAME, f"n/a: {spec.id} has no experts")
        return
    for number, method in enumerate(METHODS, start=1):
        layer = KtLayer(method, spec.experts, spec.experts_used, spec.latent or spec.d_model, spec.expert_ff, threads)
        name = f"{NAME} {method}, one layer of {spec.id}"
        yield Began(name, number, len(METHODS))
        try:
            for row in time_layer(python, layer, prompt=PROMPT, repetitions=REPETITIONS, limit_s=limit_s):
                what = f"prompt of {row.tokens}" if row.phase == "prefill" else "decode"
                yield Measurement(
                    f"{name}: {what}",
                    layer_shape(layer),
                    Placement.on("cpu", ("cpu",)),
                    layer_parameters(layer, row.tokens),
                    row.phase,
                    row.tokens,
                    0,
                    row.samples_ms[1:],
                    layer_only=True,
                )
        except MoetuneError as error:
            yield Skipped(name, error.message)


def layer_shape(layer: KtLayer) -> ModelShape:
    """A model of that one layer's experts and nothing else."""
    weights = layer.resident * 3 * layer.hidden * layer.inner
    size = round(weights * BYTES_PER_WEIGHT[layer.method])
    one = LayerShape(0, 0, 0, 0, 0, size, kind="none", expert_weights=weights)
    return ModelShape(
        name=f"{layer.method} experts", architecture="experts", layers=(one,), embedding_bytes=0, head_bytes=0,
        head_tied=False, vocabulary=0, d_model=layer.hidden, heads=1, expert_count=layer.resident,
        expert_used=layer.used, expert_ff=layer.inner, window=0, context_length=0, file_bytes=size,
        quantization=layer.method,
    )  # fmt: skip


def layer_parameters(layer: KtLayer, tokens: int) -> Parameters:
    """How that layer is computed."""
    kt = KtParameters(layer.method, layer.threads, pools=1, resident_experts=0, chunked_prefill=max(tokens, PROMPT))
    return Parameters(
        context=4096, parallel=1, ubatch=PROMPT, batch=PROMPT, kv_type_k="f16", kv_type_v="f16", flash_attention=True,
        load_mode="none", threads=layer.threads, threads_batch=layer.threads, kt=kt,
    )  # fmt: skip
