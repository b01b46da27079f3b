"""What the solver answers with: where everything goes, how fast that will be, and why."""

from __future__ import annotations

from collections.abc import Sequence
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
    part: str = ""
    """What kind of cost it is, see `scene.Cost`."""
    device: str = ""
    coefficient: str = ""
    quantity: float = 0.0
    """`value` is `quantity` times the coefficient; neither is there where `parts` are."""
    parts: tuple[Term, ...] = ()
    """What it is the sum of, where several costs make it up."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Which device holds what, layer by layer."""

    attention: tuple[str, ...]
    """Per layer, the id of the device that holds its attention, KV cache, norms, router, shared experts and dense
    network. One block of layers for each device: `cpu` first, then the others in the order of `-dev`."""
    experts: tuple[str, ...]
    """Per layer, the id of the device that holds its routed experts; as `attention` in a layer without any."""
    head: str
    """The device of the output head: that of the last block."""
    resident_experts: int = 0
    """Routed experts of every layer that the attention device holds besides (KTransformers); llama.cpp has none."""
    host_norms: bool = False
    """Norms and routers of layers whose experts are on the CPU are there too (`-ot ffn=CPU` in place of `exps=CPU`)."""

    @classmethod
    def on(cls, device_id: str, experts: Sequence[str]) -> Placement:
        """All attention and the head on one device; `experts` as above."""
        return cls((device_id,) * len(experts), tuple(experts), device_id)

    def attention_layers(self, device_id: str) -> tuple[int, ...]:
        """The layers whose attention is on that device."""
        return tuple(layer for layer, owner in enumerate(self.attention) if owner == device_id)

    def expert_layers(self, device_id: str) -> tuple[int, ...]:
        """The layers whose routed experts are on that device."""
        return tuple(layer for layer, owner in enumerate(self.experts) if owner == device_id)

    @property
    def attention_devices(self) -> tuple[str, ...]:
        """The devices that hold attention, in the order of their blocks."""
        return tuple(dict.fromkeys((*self.attention, self.head)))

    @property
    def devices(self) -> tuple[str, ...]:
        """Every device that holds something, those with attention first."""
        return tuple(dict.fromkeys((*self.attention, self.head, *self.experts)))


@dataclass(frozen=True, slots=True)
class KtParameters:
    """What KTransformers alone is told."""

    method: str
    """`--kt-method`: `AMXINT4`, `AMXINT8`, `BF16`, `FP8`, `RAWINT4`, `LLAMAFILE` ..."""
    cpu_threads: int
    """`--kt-cpuinfer`: physical cores, all sockets together."""
    pools: int
    """`--kt-threadpool-count`: NUMA nodes with memory and cores."""
    resident_experts: int
    """`--kt-num-gpu-experts`, of every layer."""
    chunked_prefill: int
    """`--chunked-prefill-size`, tokens."""
    tensor_parallel: int = 1
    gpu_prefill_tokens: int = 0
    """`--kt-gpu-prefill-token-threshold`: prompts as long are computed layer by layer on the GPU; 0: never."""
    deferred_experts: int = 0
    """`--kt-max-deferred-experts-per-token`: experts of a token that the next layer need not wait for. It changes the
    answers: kt-kernel's documents recommend 1 to 4 and warn of 5 and more; 0: none."""


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
    no_host: bool = False
    """Leave the GPU's pinned memory out, so that the CPU may repack its weights (AMX among the layouts)."""
    op_offload: bool = True
    """Whether the GPU computes large batches of host-resident weights, copying them over."""
    numa: str = ""
    """`distribute`, `isolate`, `numactl`; empty: not told."""
    draft_tokens: int = 0
    """Tokens that the model's own NextN layers draft; 0: they are not used."""
    cache_ram_bytes: int | None = None
    """Most bytes of the server's prompt cache in RAM; `None`: the engine's own default."""
    kt: KtParameters | None = None
    """For KTransformers; `None`: llama.cpp."""


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
    other_bytes: int = 0
    """What else the engine takes there: its context on a GPU, the prompt cache in RAM."""

    @property
    def total_bytes(self) -> int:
        """Weights, KV cache, compute buffers and the rest."""
        return self.weight_bytes + self.kv_bytes + self.compute_bytes + self.other_bytes


@dataclass(frozen=True, slots=True)
class Prediction:
    """A speed with its range and the terms it is made of."""

    tokens_per_s: float
    """Of all sequences together."""
    low: float
    high: float
    """About nine in ten measurements should lie between `low` and `high`."""
    basis: Basis
    at_context: int
    terms: tuple[Term, ...]
    """Milliseconds per token; they add up to 1000 / tokens_per_s."""
    batch: int = 1
    """Sequences decoded at once; of a prefill, the ubatch."""

    @property
    def ms_per_token(self) -> float:
        """Time of one token."""
        return 1000.0 / self.tokens_per_s


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Speed at one context, or at one number of sequences."""

    at: int
    tokens_per_s: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Curves:
    """How speed changes with what the person may choose."""

    decode_by_context: tuple[CurvePoint, ...] = ()
    """One sequence, from an empty context to the workload's."""
    decode_by_batch: tuple[CurvePoint, ...] = ()
    """1 to 16 sequences at the workload's depth, tokens of all together."""
    prefill_by_ubatch: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    """A placement that lost, and why."""

    label: str
    tokens_per_s: float | None
    """`None` where it does not fit."""
    why: str
    missing_bytes: int = 0
    """What it lacks where it does not fit."""
    turn_s: float | None = None


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
    runtime: str = "llama.cpp"
    """`llama.cpp` or `ktransformers`."""
    prefill: Prediction | None = None
    """Of the workload's prompt; tokens per second as its mean."""
    turn_s: float | None = None
    """Seconds from the prompt's arrival to the end of the answer: prompt, then output."""
    choices: tuple[Term, ...] = ()
    """Every parameter that was chosen, with its reason: `ubatch`, `kv_type`, `load_mode`, `threads` ..."""
    curves: Curves = Curves()
    nextn_layers: int = 0
    """Layers for multi-token prediction at the end of the file: not placed, but counted by llama.cpp."""

    def memory_of(self, device_id: str) -> DeviceMemory:
        """The memory of one device.

        Raises:
            KeyError: the plan puts nothing there.
        """
        for memory in self.memory:
            if memory.device_id == device_id:
                return memory
        raise KeyError(device_id)
