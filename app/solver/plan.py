"""What the solver answers with: where everything goes, how fast that will be, and why."""

from __future__ import annotations

from dataclasses import dataclass

from app.solver.model import KvType, Workload
from detectors.facts import Basis


@dataclass(frozen=True, slots=True)
class Term:
    """One number of a derivation, with its reason."""

    name: str
    value: float
    unit: str
    why: str
    """One sentence a person can check."""
    basis: Basis


@dataclass(frozen=True, slots=True)
class Placement:
    """Which device holds what, layer by layer."""

    attention: str
    """Id of the device that holds every layer's attention, KV cache and the output head."""
    experts: tuple[str, ...]
    """Per layer, the id of the device that holds its routed experts; the attention device in a dense layer."""

    def expert_layers(self, device_id: str) -> tuple[int, ...]:
        """The layers whose routed experts are on that device."""
        return tuple(layer for layer, owner in enumerate(self.experts) if owner == device_id)

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that holds something, the attention device first."""
        return tuple(dict.fromkeys((self.attention, *self.experts)))


@dataclass(frozen=True, slots=True)
class Parameters:
    """The runtime parameters that a plan fixes."""

    context: int
    """Total tokens of context: per sequence times sequences."""
    parallel: int
    ubatch: int
    batch: int
    kv_type_k: KvType
    kv_type_v: KvType
    flash_attention: bool
    load_mode: str
    """`mmap` or `none`, in llama.cpp's words."""
    threads: int
    threads_batch: int


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """The bytes that a plan puts on one device."""

    device_id: str
    weight_bytes: int
    kv_bytes: int
    compute_bytes: int
    available_bytes: int | None
    """What the device had free when the plan was made."""
    reserve_bytes: int
    """What the plan leaves alone."""
    basis: Basis = "estimated"
    """`measured` where the engine itself was asked."""

    @property
    def total_bytes(self) -> int:
        """Weights, KV cache and compute buffers."""
        return self.weight_bytes + self.kv_bytes + self.compute_bytes


@dataclass(frozen=True, slots=True)
class Prediction:
    """A speed with its range and the terms it is made of."""

    tokens_per_s: float
    low: float
    high: float
    """About nine in ten measurements should lie between `low` and `high`."""
    basis: Basis
    at_context: int
    terms: tuple[Term, ...]
    """Milliseconds per token; they add up to 1000 / tokens_per_s."""

    @property
    def ms_per_token(self) -> float:
        """Time of one token."""
        return 1000.0 / self.tokens_per_s


@dataclass(frozen=True, slots=True)
class Alternative:
    """A placement that lost, and why."""

    label: str
    tokens_per_s: float | None
    """`None` where it does not fit."""
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A placement with its parameters, its memory and its predicted speed."""

    model_name: str
    model_path: str
    workload: Workload
    placement: Placement
    parameters: Parameters
    memory: tuple[DeviceMemory, ...]
    decode: Prediction
    alternatives: tuple[Alternative, ...]
    notes: tuple[str, ...] = ()
    """What a person should know about this plan, one sentence each."""

    def memory_of(self, device_id: str) -> DeviceMemory:
        """The memory of one device.

        Raises:
            KeyError: the plan puts nothing there.
        """
        for memory in self.memory:
            if memory.device_id == device_id:
                return memory
        raise KeyError(device_id)
