"""The best plan for a model, a workload and a machine: every placement and parameter worth trying, and the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf

from app.solver import memory
from app.solver.answer import Outcome, plan_of
from app.solver.blocks import BlockCosts
from app.solver.budget import budgets, usable_devices
from app.solver.division import Division, device_orders
from app.solver.layers import CostTable, layers_of
from app.solver.longest import STEP, longest_context, speed_at
from app.solver.model import KvType, Policy, Workload
from app.solver.objectives import work_of
from app.solver.options import base_parameters, first_variant, kv_types, variants
from app.solver.placement import Candidate, Filler, OneAttention, firsts, owner_sets
from app.solver.plan import Parameters, Plan
from app.solver.ram import with_ram_bandwidth
from app.solver.remedies import no_fit
from app.solver.scene import Scene

TIE = 0.03
"""Plans closer than this are the same to the speed model: the placement on fewer devices wins."""

SAME = 0.01
"""Parameters closer than this are the same: the engine's own default wins, which takes less memory."""


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
        self._fillers: dict[tuple[int, str, int], Filler] = {}
        self._ones: dict[tuple[str, Parameters], OneAttention] = {}
        self._blocks: dict[tuple[Parameters, str], BlockCosts] = {}
        self._varied: dict[tuple[Parameters, bool], list[Parameters]] = {}
        self._gpus = frozenset(device.id for device in self.devices if device.kind in ("igpu", "dgpu"))

    def outcome(self) -> Outcome | None:
        """The best candidate with the default cache, or with a smaller one where that is better; `None`: none fits."""
        found: list[Candidate] = []
        best: Candidate | None = None
        for kv_type in kv_types(self.policy):
            if best is not None and self._least_with(kv_type, best) >= best.seconds * (1 - TIE):
                break
            these = self.candidates(kv_type, best.seconds * (1 - TIE) if best else inf)
            found += these
            if these and (best is None or min(one.seconds for one in these) < best.seconds * (1 - TIE)):
                best = preferred(these)
        return Outcome(best, tuple(found)) if best else None

    def candidates(self, kv_type: KvType, bound: float = inf) -> list[Candidate]:
        """All placements that fit with this cache, those that may be better than `bound` with their best parameters."""
        first = base_parameters(self.scene.machine, self.workload, self.policy, kv_type)
        if not self._may_fit(first):
            return []
        found = self._on_one(first)
        plain = min((bound, *(one.seconds for one in found)))
        refined = self._all_refined(found, plain)
        least = min((bound, *(one.seconds for one in refined)))
        return refined + self._all_refined(self._divided(first, plain, least), least)

    def _all_refined(self, found: Sequence[Candidate], bound: float) -> list[Candidate]:
        refined: list[Candidate] = []
        for candidate in sorted(found, key=lambda one: one.seconds):
            better = self._refined(candidate, bound)
            bound = min(bound, better.seconds)
            refined.append(better)
        return refined

    def fits(self, kv_type: KvType) -> bool:
        """Whether anything fits with this cache."""
        first = base_parameters(self.scene.machine, self.workload, self.policy, kv_type)
        if not self._may_fit(first):
            return False
        filler = self._filler(first)
        for attention in firsts(self.devices):
            for owners in owner_sets(self.scene.shape, attention, self.devices):
                if filler.fill(attention.id, owners, first) is not None:
                    return True
        return bool(self._divided(first, inf, inf, enough=True))

    def _may_fit(self, parameters: Parameters) -> bool:
        """Whether all bytes are no more than all room, wherever they go."""
        return self._filler(parameters).needed + self.scene.shape.embedding_bytes <= sum(self._budgets.pool.values())

    def _least_with(self, kv_type: KvType, best: Candidate) -> float:
        """Seconds that no placement with a smaller cache can beat.

        With the attention where it is fastest, at best all bytes that it frees go to experts, with the buffers of a
        device that has none left, and each layer of them moves from the dearest device to the cheapest. Elsewhere the
        smaller cache may let the attention move.
        """
        attention = best.blocks[0][0]
        own = self._one(attention, best.parameters)
        if len(best.blocks) > 1 or own.turn > min(self._one(d.id, best.parameters).turn for d in self.devices):
            return 0.0
        smaller = replace(best.parameters, kv_type_k=kv_type, kv_type_v=kv_type)
        unmoved = best.seconds + min(0.0, self._one(attention, smaller).turn - own.turn)
        if not self.layers.moe:
            return unmoved
        filler = self._filler(best.parameters)
        freed = filler.kv_sums[-1] - self._filler(smaller).kv_sums[-1] + filler.sizes.staging + filler.sizes.experts
        layers = freed // min(layer.expert_bytes for layer in self.layers.experts) + 1
        costs = {device.id: own.owner_cost(device.id) / len(self.layers.moe) for device in self.devices}
        cheapest = min(costs, key=lambda owner: costs[owner])
        away = len(self.layers.moe) - sum(count for _, count, owner in best.homes if owner == cheapest)
        return unmoved - min(layers, away) * (max(costs.values()) - costs[cheapest])

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

    def _divided(self, first: Parameters, bound: float, answers: float, *, enough: bool = False) -> list[Candidate]:
        """The best division for every order of devices that beats `bound` and those before.

        Args:
            first: the parameters.
            bound: seconds that others take with the same parameters.
            answers: seconds that others take with the best: answers alone that take longer rule a division out.
            enough: whether any one will do.
        """
        ids = [device.id for device in self.devices]
        parameters = first_variant(self.scene.machine, first, ids, self.policy)
        found = []
        orders = device_orders(self.devices, lambda device_id: self._one(device_id, parameters).turn)
        divisions = [one for one in (self._division(parameters, order) for order in orders) if one.may_beat(answers)]
        for division in sorted(divisions, key=lambda one: one.least()):
            candidate = division.best(bound)
            if candidate is not None:
                found.append(candidate)
                bound = min(bound, candidate.seconds)
                if enough:
                    break
        return found

    def _division(self, parameters: Parameters, order: tuple[str, ...]) -> Division:
        gpu = next((device_id for device_id in order if device_id in self._gpus), "")
        key = (parameters, gpu)
        if key not in self._blocks:
            owners = [device.id for device in self.devices] if self.layers.moe else []
            self._blocks[key] = BlockCosts(self.layers, self._table, parameters, owners, gpu)
        return Division(self._filler(parameters), self._blocks[key], order, self._gpus)

    def _refined(self, candidate: Candidate, bound: float) -> Candidate:
        """The candidate with its best parameters, as far as they could beat `bound`."""
        tried = [candidate]
        if candidate.answer_s >= bound:
            return candidate
        for parameters in self._variants(candidate)[1:]:
            other = self._with_parameters(candidate, parameters, bound)
            if other is not None:
                tried.append(other)
                bound = min(bound, other.seconds)
        fastest = min(one.seconds for one in tried)
        return next(one for one in tried if one.seconds <= fastest * (1 + SAME))

    def _variants(self, candidate: Candidate) -> list[Parameters]:
        mixed = memory.HOST in candidate.devices and bool(self._gpus & candidate.devices)
        key = (candidate.parameters, mixed)
        if key not in self._varied:
            self._varied[key] = variants(candidate.parameters, mixed, self.policy, self.work.prompt_tokens)
        return self._varied[key]

    def _with_parameters(self, candidate: Candidate, parameters: Parameters, bound: float) -> Candidate | None:
        if len(candidate.blocks) > 1:
            return self._division(parameters, tuple(device for device, _ in candidate.blocks)).best(bound)
        one = self._one(candidate.blocks[0][0], parameters)
        if one.turn >= bound:
            return None
        owners = sorted(candidate.owners, key=one.owner_cost)
        return one.candidate(self._filler(parameters), owners)

    def refit(self, candidate: Candidate, context: int) -> Candidate | None:
        """The same kind of placement for another context; its seconds are of the depth as it was."""
        parameters = replace(candidate.parameters, context=context * candidate.parameters.parallel)
        if len(candidate.blocks) > 1:
            return self._division(parameters, tuple(device for device, _ in candidate.blocks)).best()
        one = self._one(candidate.blocks[0][0], candidate.parameters)
        filler = Filler(self.scene.machine, self.scene.shape, self.layers, self._budgets, parameters)
        found = one.candidate(filler, sorted(candidate.owners, key=one.owner_cost))
        return replace(found, parameters=parameters) if found is not None else None

    def longest(self, candidate: Candidate) -> tuple[int, Candidate | None]:
        """The longest usable context of that kind of placement, and the placement."""
        return longest_context(self.scene, lambda tokens: self.refit(candidate, tokens), self.workload.floor_tps)

    def _one(self, attention: str, parameters: Parameters) -> OneAttention:
        key = (attention, parameters)
        if key not in self._ones:
            self._ones[key] = OneAttention(self.layers, self._table, attention, parameters)
        return self._ones[key]

    def _filler(self, parameters: Parameters) -> Filler:
        key = (parameters.ubatch, parameters.kv_type_k, parameters.context)
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
    if workload.objective == "context":
        workload = _with_longest_context(scene, workload, policy)
    search = Search(scene, workload, policy)
    outcome = search.outcome()
    if outcome is None:
        raise no_fit(search.scene, workload, policy, fits)
    return plan_of(search.scene, workload, policy, outcome, model_path)


def _with_longest_context(scene: Scene, workload: Workload, policy: Policy) -> Workload:
    """The workload with the longest context that any kind of placement keeps usable; as it is, where none does."""
    search = Search(scene, replace(workload, context=STEP), policy)
    longest = 0
    for kv_type in kv_types(policy):
        for candidate in sorted(search.candidates(kv_type), key=lambda one: one.seconds):
            if speed_at(search.scene, candidate, max(STEP, longest)) >= workload.floor_tps:
                longest = max(longest, search.longest(candidate)[0])
    return replace(workload, context=longest or workload.context)


def fits(scene: Scene, workload: Workload, policy: Policy) -> bool:
    """Whether anything fits at all."""
    search = Search(scene, workload, policy)
    return any(search.fits(kv_type) for kv_type in kv_types(policy))
