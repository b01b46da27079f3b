"""The best plan for a model, a workload and a machine: every placement and parameter worth trying, and the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from app.solver import memory
from app.solver.alternatives import lacking_alone, runners_up, timed
from app.solver.budget import (
    available_bytes,
    budgets,
    other_bytes,
    reserve_bytes,
    usable_devices,
    with_prompt_cache,
)
from app.solver.choices import choices
from app.solver.curves import curves
from app.solver.division import BlockCosts, Division, device_orders
from app.solver.explain import notes
from app.solver.layers import CostTable, layers_of
from app.solver.model import KvType, ModelShape, Policy, Workload
from app.solver.objectives import reported, work_of
from app.solver.options import base_parameters, first_variant, kv_types, variants
from app.solver.placement import Candidate, Filler, OneAttention, firsts, owner_sets
from app.solver.plan import DeviceMemory, Parameters, Placement, Plan
from app.solver.prediction import predict_prefill
from app.solver.ram import with_ram_bandwidth
from app.solver.remedies import no_fit
from app.solver.scene import Scene
from detectors.facts import Machine

TIE = 0.03
"""Plans closer than this are the same to the speed model: the placement on fewer devices wins."""

SAME = 0.01
"""Parameters closer than this are the same: the engine's own default wins, which takes less memory."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search found."""

    chosen: Candidate
    found: tuple[Candidate, ...]
    """All that fit, one for each set of devices and parameters."""


class Search:
    """All candidates for one scene, workload and policy."""

    def __init__(self, scene: Scene, workload: Workload, policy: Policy) -> None:
        self.scene = replace(scene, machine=with_ram_bandwidth(scene.machine))
        self.workload = workload
        self.policy = policy
        self.work = work_of(workload)
        self.devices = usable_devices(self.scene.machine, policy)
        self.layers = layers_of(scene.shape)
        self._budgets = budgets(self.scene.machine, policy, self.devices)
        self._table = CostTable(self.scene, self.layers, self.work)
        self._fillers: dict[tuple[int, str], Filler] = {}
        self._ones: dict[tuple[str, Parameters], OneAttention] = {}
        self._blocks: dict[Parameters, BlockCosts] = {}
        self._gpus = frozenset(device.id for device in self.devices if device.kind in ("igpu", "dgpu"))

    def outcome(self) -> Outcome | None:
        """The best candidate with the default cache, or with a smaller one where that is better; `None`: none fits."""
        found: list[Candidate] = []
        best: Candidate | None = None
        for kv_type in kv_types(self.policy):
            if best is not None and self._least_with(kv_type, best) >= best.seconds * (1 - TIE):
                break
            these = self.candidates(kv_type)
            found += these
            if these and (best is None or min(one.seconds for one in these) < best.seconds * (1 - TIE)):
                best = preferred(these)
        return Outcome(best, tuple(found)) if best else None

    def candidates(self, kv_type: KvType) -> list[Candidate]:
        """All placements that fit with this cache, those that may be best with the best parameters of each."""
        first = base_parameters(self.scene.machine, self.workload, self.policy, kv_type)
        filler = self._filler(first)
        if self._layer_bytes() + filler.kv_sums[-1] > sum(self._budgets.pool.values()):
            return []
        found = self._on_one(first)
        least = min((one.seconds for one in found), default=inf)
        found += self._divided(first, least)
        least = min((one.seconds for one in found), default=inf)
        refined: list[Candidate] = []
        for candidate in sorted(found, key=lambda one: one.seconds):
            better = self._refined(candidate, least)
            least = min(least, better.seconds)
            refined.append(better)
        return refined

    def _layer_bytes(self) -> int:
        return self.layers.resident_sums[-1] + self.layers.expert_sums[-1] + self.scene.shape.embedding_bytes

    def _least_with(self, kv_type: KvType, best: Candidate) -> float:
        """Seconds that no placement with a smaller cache can beat.

        At best all bytes that it frees go to experts, and each layer of them moves from the dearest device to the
        cheapest.
        """
        if not self.layers.moe:
            return 0.0 if len(best.blocks) > 1 or best.devices == {memory.HOST} else best.seconds
        smaller = replace(best.parameters, kv_type_k=kv_type, kv_type_v=kv_type)
        freed = self._filler(best.parameters).kv_sums[-1] - self._filler(smaller).kv_sums[-1]
        layers = freed // min(layer.expert_bytes for layer in self.layers.experts) + 1
        gains = []
        for attention in {device for device, _ in best.blocks}:
            one = self._one(attention, best.parameters)
            costs = [one.owner_cost(device.id) for device in self.devices]
            gains.append((max(costs) - min(costs)) / len(self.layers.moe))
        return best.seconds - layers * max(gains)

    def _on_one(self, first: Parameters) -> list[Candidate]:
        found = []
        for attention in firsts(self.devices):
            for owners in owner_sets(self.scene.shape, attention, self.devices):
                parameters = first_variant(self.scene.machine, first, (attention.id, *owners), self.policy)
                one = self._one(attention.id, parameters)
                candidate = one.candidate(self._filler(parameters), sorted(owners, key=one.owner_cost))
                if candidate is not None:
                    found.append(candidate)
        return found

    def _divided(self, first: Parameters, bound: float) -> list[Candidate]:
        ids = [device.id for device in self.devices]
        parameters = first_variant(self.scene.machine, first, ids, self.policy)
        found = []
        for order in device_orders(self.devices, lambda device_id: self._one(device_id, parameters).turn):
            candidate = self._division(parameters, order).best(bound)
            if candidate is not None:
                found.append(candidate)
                bound = min(bound, candidate.seconds)
        return found

    def _division(self, parameters: Parameters, order: tuple[str, ...]) -> Division:
        if parameters not in self._blocks:
            owners = [device.id for device in self.devices] if self.layers.moe else []
            self._blocks[parameters] = BlockCosts(self.layers, self._table, parameters, owners)
        return Division(self._filler(parameters), self._blocks[parameters], order, self._gpus)

    def _refined(self, candidate: Candidate, bound: float) -> Candidate:
        """The candidate with its best parameters, as far as they could beat `bound`."""
        tried = [candidate]
        if candidate.answer_s >= bound:
            return candidate
        machine, prompt = self.scene.machine, self.work.prompt_tokens
        for parameters in variants(machine, candidate.parameters, candidate.devices, self.policy, prompt)[1:]:
            other = self._with_parameters(candidate, parameters, bound)
            if other is not None:
                tried.append(other)
                bound = min(bound, other.seconds)
        fastest = min(one.seconds for one in tried)
        return next(one for one in tried if one.seconds <= fastest * (1 + SAME))

    def _with_parameters(self, candidate: Candidate, parameters: Parameters, bound: float) -> Candidate | None:
        if len(candidate.blocks) > 1:
            return self._division(parameters, tuple(device for device, _ in candidate.blocks)).best(bound)
        one = self._one(candidate.blocks[0][0], parameters)
        if one.turn >= bound:
            return None
        owners = sorted(candidate.owners, key=one.owner_cost)
        return one.candidate(self._filler(parameters), owners)

    def _one(self, attention: str, parameters: Parameters) -> OneAttention:
        key = (attention, parameters)
        if key not in self._ones:
            self._ones[key] = OneAttention(self.layers, self._table, attention, parameters)
        return self._ones[key]

    def _filler(self, parameters: Parameters) -> Filler:
        key = (parameters.ubatch, parameters.kv_type_k)
        if key not in self._fillers:
            self._fillers[key] = Filler(self.scene.machine, self.scene.shape, self.layers, self._budgets, parameters)
        return self._fillers[key]


def preferred(found: Sequence[Candidate]) -> Candidate:
    """The fastest, or of those that are as fast within what can be predicted the one on the fewest devices."""
    fastest = min(one.seconds for one in found)
    tied = [one for one in found if one.seconds <= fastest * (1 + TIE)]
    return min(tied, key=lambda one: (len(one.devices), len(one.blocks), one.seconds))


def solve(scene: Scene, workload: Workload, policy: Policy, *, model_path: str = "") -> Plan:
    """The best placement that fits, with its parameters, memory, prediction and the runners-up.

    Raises:
        NoFitError: nothing fits; says by how many bytes the closest one fails, and what would make it fit.
    """
    search = Search(scene, workload, policy)
    outcome = search.outcome()
    if outcome is None:
        raise no_fit(search.scene, workload, policy, fits)
    return _plan(search, outcome, model_path)


def fits(scene: Scene, workload: Workload, policy: Policy) -> bool:
    """Whether anything fits at all."""
    search = Search(scene, workload, policy)
    return any(search.candidates(kv_type) for kv_type in kv_types(policy))


def _plan(search: Search, outcome: Outcome, model_path: str) -> Plan:
    scene, workload, policy, work = search.scene, search.workload, search.policy, search.work
    machine, shape = scene.machine, scene.shape
    placement, parameters = outcome.chosen.placement, outcome.chosen.parameters
    memories, parameters = with_prompt_cache(
        machine, device_memory(machine, shape, placement, parameters, policy), parameters
    )
    decode, _, turn_s = timed(scene, reported(workload), placement, parameters)
    lacking = lacking_alone(machine, shape, search.devices, parameters, policy)
    prompt = min(workload.prompt_tokens, workload.context)
    return Plan(
        model_name=shape.name,
        model_path=model_path,
        workload=workload,
        placement=placement,
        parameters=parameters,
        memory=memories,
        decode=decode,
        alternatives=runners_up(scene, workload, outcome.chosen, outcome.found, lacking),
        notes=notes(machine, shape, placement, workload),
        prefill=predict_prefill(scene, placement, parameters, prompt_tokens=prompt),
        turn_s=turn_s,
        choices=choices(scene, work, policy, placement, parameters, outcome.found),
        curves=curves(scene, placement, parameters, workload),
        nextn_layers=shape.nextn_layers,
    )


def device_memory(
    machine: Machine, shape: ModelShape, placement: Placement, parameters: Parameters, policy: Policy
) -> tuple[DeviceMemory, ...]:
    """What the placement takes of each device, by formula, the devices with attention first."""
    weights = memory.weight_bytes(shape, placement)
    compute = memory.compute_bytes(shape, placement, parameters)
    kv = memory.kv_bytes(shape, placement, parameters)
    other = other_bytes(machine, placement.devices)
    order = dict.fromkeys((*placement.devices, *weights, *compute))
    return tuple(
        DeviceMemory(
            device_id=device_id,
            weight_bytes=weights.get(device_id, 0),
            kv_bytes=kv.get(device_id, 0),
            compute_bytes=compute.get(device_id, 0),
            available_bytes=available_bytes(machine, machine.device(device_id), policy),
            reserve_bytes=reserve_bytes(machine.device(device_id), policy),
            other_bytes=other.get(device_id, 0),
        )
        for device_id in order
    )
