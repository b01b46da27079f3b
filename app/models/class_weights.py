"""How many weights of each class a model has, layer by layer: counted in a file's tensor table, or from a spec."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from app.models.architectures import (
    blueprint_of,
    lengths_of,
    parts_by_layer,
    quantized_model,
    rows_of,
    value_projections,
)
from app.models.blueprints import Rows
from app.models.ggml_types import TYPES_BY_NAME
from app.models.gguf import TensorInfo
from app.models.layout import aligned
from app.models.quantization import decisions, mixture, type_of
from app.models.spec import ModelSpec
from app.models.tensor_classes import TensorClass, place_of

_EXPERT_PARTS = {"ffn_gate_exps": 1, "ffn_up_exps": 1, "ffn_down_exps": 1, "ffn_gate_up_exps": 2}
"""Tensors of routed experts, and how many matrices each is."""


@dataclass(slots=True)
class ClassWeights:
    """The weights of one layer, or of what is outside the layers."""

    bytes: Counter[TensorClass] = field(default_factory=Counter)
    elements: Counter[TensorClass] = field(default_factory=Counter)

    def add(self, purpose: TensorClass, size: int, elements: int) -> None:
        """Count one tensor."""
        self.bytes[purpose] += size
        self.elements[purpose] += elements


@dataclass(slots=True)
class ModelWeights:
    """All weights of a model."""

    layers: list[ClassWeights]
    """Of the trunk, then the NextN layers."""
    outside: ClassWeights = field(default_factory=ClassWeights)
    tied: bool = True
    """No output matrix of its own."""
    vocabulary: int = 1
    expert_ff: int = 0
    """Inner width of one routed expert; 0 where no tensor says."""
    expert_in: int = 0
    """Width of what an expert is given."""
    expert_matrices: int = 0
    padded_bytes: int = 0
    """Of all tensors, with the padding between them."""

    _first: str = ""
    """The layer whose experts are read off."""

    def meet(self, name: str, shape: tuple[int, ...]) -> None:
        """Read off a tensor what is said by its being there."""
        if name == "output.weight":
            self.tied = False
        elif name == "token_embd.weight":
            self.vocabulary = shape[1] if len(shape) > 1 else 1
        elif name.endswith("_exps.weight") and name.count(".") > 2:  # blk.N.STEM.weight
            self._meet_experts(name, shape)

    def _meet_experts(self, name: str, shape: tuple[int, ...]) -> None:
        _, number, stem, *_ = name.split(".")
        if self._first and number != self._first:
            return
        self._first = number
        self.expert_matrices += _EXPERT_PARTS.get(stem, 0)
        if stem == "ffn_down_exps":
            self.expert_ff = shape[0]
            self.expert_in = shape[1] if len(shape) > 1 else 0


def counted_weights(tensors: Iterable[TensorInfo], layers: int) -> ModelWeights:
    """The weights of a tensor table.

    Args:
        tensors: of all parts of the file.
        layers: `block_count`, NextN layers included; what is of later layers is left out.
    """
    found = ModelWeights([ClassWeights() for _ in range(layers)])
    for tensor in tensors:
        layer, purpose = place_of(tensor.name)
        found.padded_bytes += aligned(tensor.bytes)
        if layer is None or tensor.name.endswith("_exps.weight"):
            found.meet(tensor.name, tensor.shape)
        if layer is None or layer < layers:
            place = found.outside if layer is None else found.layers[layer]
            place.add(purpose, tensor.bytes, math.prod(tensor.shape))
    return found


def planned_weights(spec: ModelSpec) -> ModelWeights:
    """The weights that a file of this spec would have. Layers of the same kind and types are reckoned once.

    Raises:
        UsageError: the architecture's tensors are not described, or there is no such quantization.
    """
    chosen, model = mixture(spec.quantization), quantized_model(spec)
    lengths = lengths_of(spec)
    found = ModelWeights([])

    def reckon(rows: Rows, prefix: str, layer: int, values: int) -> tuple[ClassWeights, int]:
        weights, padded = ClassWeights(), 0
        for stem, sizes in rows:
            name, shape = prefix + stem, tuple(lengths[size] for size in sizes)
            if elements := math.prod(shape):
                kind = TYPES_BY_NAME[type_of(chosen, name, shape, layer, values, model)]
                weights.add(place_of(name)[1], kind.row_bytes(elements), elements)
                padded += aligned(kind.row_bytes(elements))
                found.meet(name, shape)
        return weights, padded

    found.outside, found.padded_bytes = reckon(blueprint_of(spec).outside, "", 0, 0)
    reckoned: dict[tuple[object, ...], tuple[ClassWeights, int]] = {}
    values = 0
    for layer, names in enumerate(parts_by_layer(spec)):
        key = (names, *decisions(chosen, layer, values, model))
        if key not in reckoned:
            reckoned[key] = reckon(rows_of(spec.architecture, names), f"blk.{layer}.", layer, values)
        weights, padded = reckoned[key]
        found.layers.append(weights)
        found.padded_bytes += padded
        values += value_projections(spec.architecture, names)
    return found
