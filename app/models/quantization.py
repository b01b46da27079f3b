"""Which type each tensor of a file has: llama-quantize's mixtures and what it falls back to.

Source: llama.cpp 0.5.0, `src/llama-quant.cpp` (`tensor_allows_quantization`, `llama_tensor_get_type_impl`,
`tensor_type_fallback`), with an importance matrix where that makes a difference: published files have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from app.errors import UsageError
from app.models.ggml_types import TYPES_BY_NAME

Where = Literal["everywhere", "more_bits", "grouped", "first_two", "first_four", "first_eighth", "first_sixteenth"]
Upgrades = tuple[tuple[Where, str], ...]
"""The first that applies decides."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """The types of one kind of file."""

    file_type: int
    """`general.file_type`."""
    base: str
    head: str
    """Of the output matrix, and of the embedding table where they are one."""
    values: Upgrades = ()
    """Of the value projection, alone or fused with queries and keys."""
    down: Upgrades = ()
    """Of every feed-forward network's way back."""
    output: Upgrades = ()
    """Of the attention's output projection."""
    stacked: str = ""
    """Of tensors with three dimensions."""
    output_of_eight: str = ""
    """Of the attention's output projection in a model of eight experts."""


MIXTURES: dict[str, Mixture] = {
    "F16": Mixture(1, "F16", "F16"),
    "BF16": Mixture(32, "BF16", "BF16"),
    "Q8_0": Mixture(7, "Q8_0", "Q8_0"),
    "Q6_K": Mixture(18, "Q6_K", "Q6_K"),
    "Q5_K_M": Mixture(17, "Q5_K", "Q6_K", values=(("more_bits", "Q6_K"),), down=(("more_bits", "Q6_K"),)),
    "Q4_K_M": Mixture(
        15,
        "Q4_K",
        "Q6_K",
        values=(("more_bits", "Q6_K"),),
        down=(("more_bits", "Q6_K"),),
        output_of_eight="Q5_K",
    ),
    "Q4_K_S": Mixture(
        14,
        "Q4_K",
        "Q6_K",
        values=(("first_four", "Q5_K"),),
        down=(("first_eighth", "Q5_K"),),
        output_of_eight="Q5_K",
    ),
    "Q4_0": Mixture(2, "Q4_0", "Q6_K", down=(("first_eighth", "Q4_1"),)),
    "IQ4_XS": Mixture(30, "IQ4_XS", "Q6_K", values=(("grouped", "Q5_K"),), output_of_eight="Q5_K"),
    "Q3_K_M": Mixture(
        12,
        "Q3_K",
        "Q6_K",
        values=(("first_two", "Q5_K"), ("everywhere", "Q4_K")),
        down=(("first_sixteenth", "Q5_K"), ("everywhere", "Q4_K")),
        output=(("everywhere", "Q4_K"),),
        output_of_eight="Q5_K",
    ),
    "Q2_K": Mixture(
        10,
        "Q2_K",
        "Q6_K",
        values=(("grouped", "Q4_K"), ("everywhere", "Q3_K")),
        down=(("everywhere", "Q3_K"),),
        output=(("everywhere", "Q3_K"),),
        output_of_eight="Q5_K",
    ),
    "MXFP4_MOE": Mixture(38, "Q8_0", "Q8_0", stacked="MXFP4"),
}
"""By the name that llama-quantize gives them."""

_FALLBACKS: Mapping[str, str] = {
    "IQ4_XS": "IQ4_NL", "Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip
"""For rows that do not divide into blocks of 256."""
_UNQUANTIZED = (
    "_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight",
    "indexer.q_proj.weight",
)  # fmt: skip
_FUSED_VALUES = ("attn_v.weight", "attn_qkv.weight")
_EIGHT = 8
"""A number of experts that llama-quantize takes for Mixtral's."""
_GROUPED = 4
"""Query heads for each KV head from which the value projection is small enough for more bits."""


@dataclass(frozen=True, slots=True)
class Model:
    """What of a model decides its types."""

    layers: int
    """NextN layers included."""
    values: int
    """Value projections, those fused with others included."""
    group: int
    """Query heads for each KV head."""
    experts: int
    tied: bool
    seventy: bool = False
    """Llama 2 or 3 of 70B, which gets more bits for its value projections."""
    kept: tuple[tuple[str, str], ...] = ()
    """Part of a tensor's name -> its type whatever the mixture (`Blueprint.kept`)."""


_APPLIES: Mapping[Where, Callable[[int, int, int], bool]] = {
    "everywhere": lambda index, count, group: True,
    "more_bits": lambda index, count, group: (
        index < count // 8 or index >= 7 * count // 8 or (index - count // 8) % 3 == 2
    ),
    "grouped": lambda index, count, group: group >= _GROUPED,
    "first_two": lambda index, count, group: index < 2,
    "first_four": lambda index, count, group: index < 4,
    "first_eighth": lambda index, count, group: index < count // 8,
    "first_sixteenth": lambda index, count, group: index < count // 16,
}
"""Place among its like, how many there are, query heads per KV head -> whether."""


def mixture(name: str) -> Mixture:
    """The mixture of that name, however it is written.

    Raises:
        UsageError: there is none; the hint lists what there is.
    """
    wanted = name.upper().replace("-", "_").replace(" ", "_")
    found = MIXTURES.get(wanted) or MIXTURES.get(f"{wanted}_MOE")
    if found is None:
        raise UsageError(f"There is no quantization {name!r}", hint=f"There are {', '.join(MIXTURES)}.")
    return found


def is_value(name: str) -> bool:
    """Whether this is a value projection, alone or fused: those are counted through the model."""
    return name.endswith(_FUSED_VALUES)


def decisions(chosen: Mixture, layer: int, value: int, model: Model) -> tuple[str, str, str]:
    """What of a layer's place decides its types: two layers of the same tensors and decisions have the same types."""
    return (
        _upgraded(chosen, chosen.values, value, model.values, model.group),
        _upgraded(chosen, chosen.down, layer, model.layers, model.group),
        _upgraded(chosen, chosen.output, layer, model.layers, model.group),
    )


def type_of(chosen: Mixture, name: str, shape: tuple[int, ...], layer: int, value: int, model: Model) -> str:
    """The type of one tensor.

    Args:
        chosen: the mixture.
        name: the tensor's.
        shape: in ggml's order.
        layer: its layer's index.
        value: how many value projections come before it.
        model: the model it is in.
    """
    if name.endswith("ffn_gate_tid2eid.weight"):
        return "I32"
    if len(shape) < 2 or not name.endswith("weight") or any(part in name for part in _UNQUANTIZED):
        return "F32"
    for part, kind in model.kept:
        if part in name:
            return chosen.base if kind == "Q8_0" and TYPES_BY_NAME[chosen.base].block_elements == 1 else kind
    return _fitting(_wanted(chosen, name, shape, layer, value, model), shape[0])


def _wanted(chosen: Mixture, name: str, shape: tuple[int, ...], layer: int, value: int, model: Model) -> str:
    if name == "output.weight" or (model.tied and name == "token_embd.weight"):
        return "Q8_0" if shape[0] % TYPES_BY_NAME[chosen.base].block_elements else chosen.head
    if chosen.stacked:
        return chosen.stacked if len(shape) > 2 else chosen.base
    if TYPES_BY_NAME[chosen.base].block_elements == 1:
        return chosen.base
    if is_value(name):
        if model.experts == _EIGHT:
            return "Q8_0"
        found = _upgraded(chosen, chosen.values, value, model.values, model.group)
        return "Q5_K" if model.seventy and found in ("Q3_K", "Q4_K") else found
    if name.endswith("attn_k.weight") and model.experts == _EIGHT:
        return "Q8_0"
    if "ffn_down" in name:
        return _upgraded(chosen, chosen.down, layer, model.layers, model.group)
    if name.endswith("attn_output.weight"):
        if model.experts == _EIGHT:
            return chosen.output_of_eight or chosen.base
        return _upgraded(chosen, chosen.output, layer, model.layers, model.group)
    return chosen.base


def _upgraded(chosen: Mixture, upgrades: Upgrades, index: int, count: int, group: int) -> str:
    return next((kind for where, kind in upgrades if _APPLIES[where](index, count, group)), chosen.base)


def _fitting(kind: str, row: int) -> str:
    if row % TYPES_BY_NAME[kind].block_elements == 0:
        return kind
    smaller = _FALLBACKS.get(kind, kind)
    return "F16" if row % TYPES_BY_NAME[smaller].block_elements else smaller
