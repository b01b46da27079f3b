"""What is timed, and in which order: first what tells most of the speed model's constants on this machine.

Per device: a MoE of 4-bit experts with two and four layers (weights against what a layer costs), a prompt of it, a long
cache, the same quantized, another MoE and a dense model of 8 bits. Between devices: attention on one and experts on the
other, with two and four crossings, and prompts with two ubatches (the copy of experts against multiplying them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path

from app.errors import UsageError
from app.models.catalog import find_spec
from app.models.slices import sliced
from app.models.spec import ModelSpec
from app.solver.coefficients import Coefficients
from app.solver.decode import read_bandwidth
from app.solver.model import KvType, ModelShape
from app.solver.plan import Parameters, Placement
from app.solver.prediction import decode_speed
from app.solver.prefill import prefill_ms
from app.solver.scene import Engine, Scene
from app.tuner.slice_folder import Slice
from app.units import GIB, MIB
from detectors.facts import Machine

REPETITIONS = 5
"""The first one is thrown away."""
FOUR_BIT, OTHER, DENSE, CACHE = "gpt-oss-20b", "qwen3-30b-a3b:Q4_K_M", "qwen3-4b:Q8_0", "qwen3-0.6b:Q8_0"
"""MXFP4 experts, Q8_0 rest; Q4_K experts and narrow layers; Q8_0; so small that its cache outweighs it."""
CROSSING, CROSSINGS = "demo", 8
"""Experts so small that the way to them outweighs them, and how many layers of them."""
VOCABULARY = 8192
"""Keeps the head from hiding the layers."""
GENERATED = (64, 32, 16, 8)
PROMPTS = (2048, 1024, 512, 256, 128, 64)
DEPTHS = (16384, 8192, 4096, 2048, 1024)
LARGER_UBATCH = 2048
SPARE_BYTES = 512 * MIB
"""Compute buffers and cache beside a slice's weights."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How thorough the measurements are."""

    slice_bytes: int
    """At most of one slice: experts are left out until it fits."""
    decode_s: float
    """Of all repetitions of one test together, by prediction."""
    prefill_s: float
    fill_s: float
    """For filling a cache to a depth."""
    limit_s: float
    """Of everything."""
    everything: bool
    """Both directions of every pair, and every quantization on every device."""


QUICK = Effort(640 * MIB, 1.5, 5.0, 6.0, 120.0, everything=False)
FULL = Effort(6 * GIB, 6.0, 15.0, 60.0, 900.0, everything=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One run of the bench."""

    name: str
    subject: Slice | Path
    shape: ModelShape
    placement: Placement
    parameters: Parameters
    prompts: tuple[int, ...]
    generated: tuple[int, ...]
    depths: tuple[int, ...]
    expected_s: float
    """By the constants that ship, loading aside."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A file to measure with, and what it is called."""

    what: Slice | Path
    shape: ModelShape
    label: str


@dataclass(frozen=True, slots=True)
class Programme:
    """The steps for a machine, an engine and the devices that it computes on."""

    machine: Machine
    engine: Engine
    coefficients: Coefficients
    devices: tuple[str, ...]
    """Ids, the CPU included where it is to be measured."""
    effort: Effort
    threads: int
    model: str = FOUR_BIT
    """Of the catalogue: what to slice first."""
    file: Path | None = None
    """A model's own file, to be measured as it is, with the shape of `file_shape`."""
    file_shape: ModelShape | None = None

    def steps(self) -> tuple[Step, ...]:
        """All steps, those that tell most first."""
        few, many = self._pair_of(self.model)
        other_few, other = self._pair_of(OTHER)
        dense, cache = (self._sliced(name, 4) for name in (DENSE, CACHE))
        crossing = self._sliced(CROSSING, CROSSINGS)
        first = (few, many)
        found: list[Step | None] = []
        if self.file is not None and self.file_shape is not None:
            own = Subject(self.file, self.file_shape, self.file.name)
            found += [self._decode(own, place, prompt=True) for place in self._everywhere(own)]
        for index, subject in enumerate(first):
            found += [self._decode(subject, place, prompt=index == 0) for place in self._everywhere(subject)]
        for subject in first:
            if subject.shape.is_moe:
                found += [self._decode(subject, place) for place in self._apart(subject.shape)]
        found += [self._decode(crossing, place) for place in self._apart(crossing.shape)]
        found += [self._deep(cache, place, "f16") for place in self._alone(cache.shape)]
        found += [self._decode(other, place, prompt=True) for place in self._alone(other.shape)]
        found += [self._deep(cache, place, "q8_0") for place in self._alone(cache.shape)]
        found += [self._decode(dense, place, prompt=True) for place in self._alone(dense.shape)]
        found += [self._copied(many, place, size) for place in self._apart(many.shape) for size in (512, LARGER_UBATCH)]
        if self.effort.everything:
            found += [self._decode(other_few, place) for place in self._alone(other_few.shape)]
            for subject in (other_few, other):
                found += [self._decode(subject, place) for place in self._apart(subject.shape)]
        return tuple(step for step in found if step is not None)

    def _pair_of(self, model: str) -> tuple[Subject, Subject]:
        """A small slice and one with twice its layers, with as many experts each."""
        spec = find_spec(model)
        least = least_layers(spec)
        many = self._sliced(model, min(spec.layers, spec.dense_lead + 2 * (least - spec.dense_lead)))
        assert isinstance(many.what, Slice)
        few = replace(many.what, layers=least)
        return Subject(few, few.shape(), _label(few)), many

    def _sliced(self, model: str, layers: int) -> Subject:
        """A slice with as many experts as the effort allows."""
        spec = find_spec(model)
        vocabulary = min(VOCABULARY, spec.vocabulary)
        made = Slice(model, layers, spec.experts or None, vocabulary)
        shape = made.shape()
        while shape.file_bytes > self.effort.slice_bytes and made.experts and made.experts >= 4 * spec.experts_used:
            made = replace(made, experts=made.experts // 2)
            shape = made.shape()
        return Subject(made, shape, _label(made))

    def _alone(self, shape: ModelShape) -> Iterator[Placement]:
        """All on one device, for each."""
        for device_id in self.devices:
            yield Placement.on(device_id, (device_id,) * len(shape.layers))

    def _apart(self, shape: ModelShape) -> Iterator[Placement]:
        """Attention on one device and experts on another: the best for attention first, all pairs where it is full."""
        able = [device_id for device_id in self.devices if device_id != "cpu"]
        able.sort(key=lambda device_id: -read_bandwidth(self.machine.device(device_id))[0])
        for near, far in permutations([*able, *(["cpu"] if "cpu" in self.devices else [])], 2):
            if near == "cpu" or (near != able[0] and not self.effort.everything):
                continue
            yield Placement.on(near, tuple(far if layer.expert_bytes else near for layer in shape.layers))

    def _everywhere(self, subject: Subject) -> Iterator[Placement]:
        yield from self._alone(subject.shape)
        if isinstance(subject.what, Path) and subject.shape.is_moe:
            yield from self._apart(subject.shape)

    def _parameters(self, *, ubatch: int = 512, kv: KvType = "f16") -> Parameters:
        return Parameters(
            context=4096, parallel=1, ubatch=ubatch, batch=max(2048, ubatch), kv_type_k=kv, kv_type_v=kv,
            flash_attention=True, load_mode="mmap", threads=self.threads, threads_batch=self.threads,
        )  # fmt: skip

    def _decode(self, subject: Subject, placement: Placement, *, prompt: bool = False) -> Step | None:
        p = self._parameters()
        generated, spent = self._tokens(subject.shape, placement, p)
        prompts: tuple[int, ...] = ()
        if prompt:
            size, more = self._prompt(subject.shape, placement, p, 512)
            prompts, spent = (size,), spent + more
        return self._step(subject, placement, p, prompts, (generated,), (0,), spent, "")

    def _deep(self, subject: Subject, placement: Placement, kv: KvType) -> Step | None:
        p = self._parameters(kv=kv)
        scene = self._scene(subject.shape)
        for depth in DEPTHS:
            fill_s = depth * prefill_ms(scene, placement, p, prompt_tokens=depth) / 1000
            if fill_s <= self.effort.fill_s:
                break
        generated, spent = self._tokens(subject.shape, placement, p, depth)
        depths = (0, depth) if kv == "f16" else (depth,)
        return self._step(subject, placement, p, (), (generated,), depths, spent * len(depths) + fill_s, f"{kv} cache")

    def _copied(self, subject: Subject, placement: Placement, ubatch: int) -> Step | None:
        p = self._parameters(ubatch=ubatch)
        size, spent = self._prompt(subject.shape, placement, p, ubatch)
        if size < ubatch and ubatch > 512:
            return None  # a prompt that short is one ubatch of 512 or less, which the other step times
        return self._step(subject, placement, p, (size,), (), (0,), spent, f"ubatch {ubatch}")

    def _tokens(
        self, shape: ModelShape, placement: Placement, parameters: Parameters, depth: int = 128
    ) -> tuple[int, float]:
        """How many tokens to generate, and the seconds of all repetitions."""
        each = REPETITIONS / decode_speed(self._scene(shape), placement, parameters, context=depth)
        count = next((count for count in GENERATED if count * each <= self.effort.decode_s), GENERATED[-1])
        return count, count * each

    def _prompt(self, shape: ModelShape, placement: Placement, parameters: Parameters, most: int) -> tuple[int, float]:
        scene, found = self._scene(shape), (0, 0.0)
        for tokens in (size for size in PROMPTS if size <= most):
            ms = prefill_ms(scene, placement, parameters, prompt_tokens=tokens)
            found = tokens, REPETITIONS * tokens * ms / 1000
            if found[1] <= self.effort.prefill_s:
                break
        return found

    def _scene(self, shape: ModelShape) -> Scene:
        return Scene(self.machine, shape, self.coefficients, self.engine)

    def _step(
        self,
        subject: Subject,
        placement: Placement,
        parameters: Parameters,
        prompts: tuple[int, ...],
        generated: tuple[int, ...],
        depths: tuple[int, ...],
        expected_s: float,
        detail: str,
    ) -> Step:
        where = placement_words(self.machine, placement)
        name = ", ".join(filter(None, (subject.label, where, detail)))
        return Step(name, subject.what, subject.shape, placement, parameters, prompts, generated, depths, expected_s)


def least_layers(spec: ModelSpec) -> int:
    """The least layers that a slice is measured with: two behind the leading dense ones, attention among them.

    Raises:
        UsageError: there is no such slice.
    """
    layers = min(spec.layers, spec.dense_lead + 2 * spec.moe_step)
    while layers < spec.layers:
        try:
            sliced(spec, layers=layers)
        except UsageError:
            layers += 1
        else:
            break
    return layers


def placement_words(machine: Machine, placement: Placement) -> str:
    """`on CPU`, or `attention on A and experts on B`."""
    near = machine.device(placement.head).label
    others = [machine.device(device_id).label for device_id in placement.devices if device_id != placement.head]
    return f"attention on {near} and experts on {', '.join(others)}" if others else f"on {near}"


def _label(made: Slice) -> str:
    experts = f" of {made.experts} experts" if made.experts else ""
    return f"{made.model}, {made.layers} layers{experts}"


def needed_bytes(step: Step) -> Sequence[tuple[str, int]]:
    """About what a step takes of each device, by id."""
    found: dict[str, int] = {}
    for device_id in step.placement.devices:
        resident = sum(step.shape.layers[i].resident_bytes for i in step.placement.attention_layers(device_id))
        experts = sum(step.shape.layers[i].expert_bytes for i in step.placement.expert_layers(device_id))
        found[device_id] = resident + experts + SPARE_BYTES
    return tuple(found.items())
