"""Shapes of models in quantizations that no fixed mixture describes: bits per weight, and the size of the file."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from app.errors import UsageError
from app.models.bits import Bits, bits_of, bits_per_weight, keeps_native_experts, plain_mixture, stated_bytes
from app.models.catalog import find_spec
from app.models.class_weights import ClassWeights, ModelWeights, planned_weights
from app.models.names import find_model_name
from app.models.shape import planned_shape
from app.models.spec import ModelSpec
from app.models.tensor_classes import TensorClass
from app.solver.model import LayerShape, ModelShape

_DEEP = 60
"""Layers from which publishers spend fewer bits on what is not an expert."""
_EXACT = 0.01
"""A file this near to a mixture's size is that mixture."""
_PLAUSIBLE = (0.6, 1.7)
"""Solved bits per weight of the experts, over what the words say."""
_SANE = (0.4, 2.5)
"""Size of a file over what the words say: beyond, the size is another file's."""
_NATIVE_BITS = 4.25
"""MXFP4: 17 bytes for 32 weights."""
_OUTSIDE = -1
Key = tuple[int, TensorClass]
"""Layer (`_OUTSIDE`: none; NextN layers count on after the trunk's) and what for."""


@dataclass(frozen=True, slots=True)
class _Sizes:
    """A model's weights by layer and class, before they have bits."""

    fixed_bytes: dict[Key, int]
    """Norms, routers, biases: never quantized."""
    elements: dict[Key, int]
    """Everything else."""


def shape_with_quantization(spec: ModelSpec, words: str, file_bytes: int | None = None) -> ModelShape:
    """A model's shape in a quantization as people name it.

    A mixture of llama-quantize's is exact. For any other file the bits of what is not an expert come from a table
    by its name, and the experts get what is left of the file's size, so that all bytes add up to it; without a size
    the table's bits count for the experts too. Of a dense model all weights are scaled together.

    Args:
        spec: the model.
        words: such as `UD-Q4_K_XL`, `IQ4_KS_R4`, `Q4_K_M (18.56 GB)`, `FP8`.
        file_bytes: of all parts together, where it is known other than by the words.

    Raises:
        UsageError: nothing is known of such a quantization.
    """
    name = plain_mixture(words)
    if name and not _natively_four_bits(spec, name):
        exact = planned_shape(replace(spec, quantization=name))
        size = file_bytes or stated_bytes(words, exact.file_bytes)
        if size is None or abs(size / exact.file_bytes - 1) < _EXACT or not _sane(size / exact.file_bytes):
            return exact
        counted, given = _counted_bytes(replace(spec, quantization=name)), size
        return _shape(spec, exact, _solved(spec, counted, given), given, words)
    bits = bits_of(words)
    if bits is None:
        raise UsageError(
            f"There is no quantization {words!r}",
            hint="Give the file's size with it, such as `IQ4_XS 61 GiB`, or one of llama-quantize's names.",
        )
    template = planned_shape(replace(spec, quantization="BF16"))
    nominal = _nominal_bytes(spec, bits, words)
    size = file_bytes or _said_bytes(words, template, sum(nominal.values()))
    if size is None or not _sane(size / sum(nominal.values())):
        return _shape(spec, template, nominal, sum(nominal.values()), words)
    return _shape(spec, template, _solved(spec, nominal, size), size, words)


def find_shape(words: str) -> ModelShape | None:
    """The shape of a described model by its name, in the quantization that the words say or the usual one.

    Raises:
        UsageError: nothing is known of such a quantization.
    """
    found = find_model_name(words)
    if found is None:
        return None
    spec = find_spec(found[0])
    return shape_with_quantization(spec, found[1]) if found[1] else planned_shape(spec)


def _sane(share: float) -> bool:
    return _SANE[0] < share < _SANE[1]


def _said_bytes(words: str, template: ModelShape, near: int) -> int | None:
    """What the words say of the size: bytes, or a mean of bits per weight."""
    mean = bits_per_weight(words)
    return round(template.file_bytes * mean / 16) if mean else stated_bytes(words, near)


def _natively_four_bits(spec: ModelSpec, mixture: str) -> bool:
    """Whether experts were trained in MXFP4 and stay so whatever the rest becomes."""
    return spec.quantization == "MXFP4_MOE" and mixture != "MXFP4_MOE"


def _sizes(spec: ModelSpec) -> _Sizes:
    weights = planned_weights(replace(spec, quantization="BF16"))
    fixed: dict[Key, int] = {}
    elements: dict[Key, int] = {}
    for layer, of_layer in _by_layer(weights):
        for purpose, size in of_layer.bytes.items():
            # Four bytes each of what is never quantized, two of the rest.
            fixed[layer, purpose] = 2 * (size - 2 * of_layer.elements[purpose])
            elements[layer, purpose] = of_layer.elements[purpose] - fixed[layer, purpose] // 4
    return _Sizes(fixed, elements)


def _by_layer(weights: ModelWeights) -> list[tuple[int, ClassWeights]]:
    return [(_OUTSIDE, weights.outside), *enumerate(weights.layers)]


def _nominal_bytes(spec: ModelSpec, bits: Bits, words: str) -> dict[Key, int]:
    rest = bits.rest_latent if spec.mla else bits.rest_deep if spec.layers > _DEEP else bits.rest
    experts = bits.experts
    if spec.quantization == "MXFP4_MOE" or keeps_native_experts(words):
        experts = min(experts, _NATIVE_BITS)
    bulk = _bulk(spec)
    sizes = _sizes(spec)
    found: defaultdict[Key, int] = defaultdict(int, sizes.fixed_bytes)
    for key, count in sizes.elements.items():
        found[key] += round(count * (experts if key[1] in bulk else rest) / 8)
    return dict(found)


def _bulk(spec: ModelSpec) -> tuple[TensorClass, ...]:
    """The classes that a file's size is solved for."""
    return ("experts", "lookup") if spec.experts else ("dense",)


def _counted_bytes(spec: ModelSpec) -> dict[Key, int]:
    return {
        (layer, purpose): size
        for layer, of_layer in _by_layer(planned_weights(spec))
        for purpose, size in of_layer.bytes.items()
    }


def _solved(spec: ModelSpec, given: dict[Key, int], size: int) -> dict[Key, int]:
    """The same classes with as many bytes as the file has: experts take the difference where that makes sense."""
    bulk = _bulk(spec) if spec.experts else tuple({purpose for _, purpose in given})
    free = sum(count for key, count in given.items() if key[1] in bulk)
    share = (size - sum(given.values()) + free) / free
    if _PLAUSIBLE[0] < share < _PLAUSIBLE[1]:
        return {key: round(count * share) if key[1] in bulk else count for key, count in given.items()}
    whole = size / sum(given.values())
    return {key: round(count * whole) for key, count in given.items()}


def _shape(spec: ModelSpec, template: ModelShape, counted: dict[Key, int], size: int, words: str) -> ModelShape:
    """The template with these bytes; what rounding leaves goes to the embedding table, so that layers stay alike."""
    embedding = counted[_OUTSIDE, "embedding"] + size - sum(counted.values())
    head = counted[_OUTSIDE, "head"] + (embedding if spec.tied else 0)
    return replace(
        template,
        layers=tuple(_layer(layer, index, counted) for index, layer in enumerate(template.layers)),
        embedding_bytes=embedding,
        head_bytes=head,
        lookup_bytes=counted.get((_OUTSIDE, "lookup"), 0),
        file_bytes=size,
        quantization=words,
        nextn_bytes=sum(count for (layer, _), count in counted.items() if layer >= len(template.layers)),
    )


def _layer(layer: LayerShape, index: int, counted: dict[Key, int]) -> LayerShape:
    return replace(
        layer,
        attention_bytes=counted.get((index, "attention"), 0),
        norm_bytes=counted.get((index, "norm"), 0),
        router_bytes=counted.get((index, "router"), 0),
        shared_bytes=counted.get((index, "shared"), 0),
        dense_bytes=counted.get((index, "dense"), 0),
        expert_bytes=counted.get((index, "experts"), 0),
    )
