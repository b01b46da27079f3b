"""Costs in words: terms add up to the costs, and say what is read, at which rate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.hardware.coefficients import shipped_coefficients
from app.solver.decode import decode_costs
from app.solver.explain import placement_text, terms_of
from app.solver.explain.rates import Setting, decimal_bytes, rate_of, time_text
from app.solver.model import Policy, Workload
from app.solver.plan import Plan
from app.solver.prefill import prefill_costs
from app.solver.scene import Cost, Scene, total_ms
from app.solver.search import solve
from detectors.facts import Machine
from tests.solver.machines import dense, desktop, gpt_oss_120b, plain, scene, strix_halo_with_radeon

MACHINES = [strix_halo_with_radeon(), desktop(), plain(ram_gib=96)]


def solved(machine: Machine, batch: int = 1) -> tuple[Scene, Plan]:
    here = scene(machine, gpt_oss_120b())
    work = Workload(context=16384, parallel=batch, objective="throughput" if batch > 1 else "turn")
    return here, solve(here, work, Policy())


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("batch", [1, 4])
def test_the_terms_of_a_token_add_up_to_its_costs(machine: Machine, batch: int) -> None:
    here, plan = solved(machine)
    costs = decode_costs(here, plan.placement, plan.parameters, context=5000, batch=batch)
    terms = terms_of(here, plan.placement, plan.parameters, costs, context=5000, batch=batch)
    assert sum(term.value for term in terms) == pytest.approx(total_ms(costs, here.coefficients) / batch)
    assert [term.value for term in terms] == sorted((term.value for term in terms), reverse=True)
    assert len({term.name for term in terms}) == len(terms)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_terms_of_a_prompt_add_up_to_its_costs(machine: Machine) -> None:
    here, plan = solved(machine)
    costs = prefill_costs(here, plan.placement, plan.parameters, prompt_tokens=3000)
    terms = terms_of(here, plan.placement, plan.parameters, costs, context=3000, batch=1)
    assert sum(term.value for term in terms) == pytest.approx(total_ms(costs, here.coefficients))


@pytest.mark.parametrize("machine", MACHINES)
def test_a_term_is_its_quantity_times_its_constant_or_the_sum_of_its_parts(machine: Machine) -> None:
    _, plan = solved(machine)
    assert plan.prefill is not None
    for term in (*plan.decode.terms, *plan.prefill.terms):
        if term.parts:
            assert term.value == pytest.approx(sum(part.value for part in term.parts))
        for one in term.parts or (term,):
            assert one.value == pytest.approx(one.quantity * shipped_coefficients()[one.coefficient])


def test_a_term_says_what_is_read_and_how_fast() -> None:
    here, plan = solved(desktop())
    term = next(term for term in plan.decode.terms if term.name == "experts on CPU")
    constant = here.coefficients[term.coefficient]
    moved = term.quantity * 75.0 * 1e6
    assert term.why.startswith(f"{decimal_bytes(moved)} from CPU at {75 / constant:.3g} GB/s")
    assert "of 75)" in term.why
    layers = plan.placement.expert_layers("cpu")
    assert moved == pytest.approx(sum(here.shape.layers[i].expert_bytes for i in layers) * 4 / 128)


def test_every_rate_of_the_shipped_constants_has_words() -> None:
    here, plan = solved(strix_halo_with_radeon())
    setting = Setting(here, plan.placement, plan.parameters)
    for name, constant in here.coefficients.values.items():
        rate = rate_of(setting, Cost("experts", "gpu:i", name, 2.0))
        assert rate.quantity
        if constant.unit.startswith("ms at") or "FLOP" in constant.unit:
            assert constant.unit not in rate.text, f"{name}: no words for {constant.unit!r}"


def test_a_term_is_known_no_better_than_its_bandwidth_and_its_constant() -> None:
    _, plan = solved(plain(ram_gib=96))
    assert plan.decode.basis == "estimated", "the CPU's bandwidth is a guess"
    _, plan = solved(desktop())
    assert {term.basis for term in plan.decode.terms} == {"table"}


def test_two_cards_of_one_name_are_told_apart() -> None:
    one = desktop()
    twin, pool = replace(one.devices[1], id="gpu:b", pool_id="vram:b"), replace(one.pools[1], id="vram:b")
    here, plan = solved(replace(one, devices=(*one.devices, twin), pools=(*one.pools, pool)))
    names = [term.name for term in plan.decode.terms]
    assert len(set(names)) == len(names)
    assert {"experts on RTX 4090 #1", "experts on RTX 4090 #2"} <= set(names)
    text = placement_text(here.machine, plan.placement, here.shape)
    assert "RTX 4090 #1" in text
    assert "RTX 4090 #2" in text


def test_a_dense_model_has_no_terms_of_experts() -> None:
    here = scene(desktop(), dense())
    plan = solve(here, Workload(context=4096), Policy())
    assert not any("experts" in term.name or "crossing" in term.name for term in plan.decode.terms)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0.4, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (8.02e6, "8.02 MB"), (999.7e6, "1000 MB"), (1.607e9, "1607 MB"),
     (23.44e9, "23.4 GB")],
)  # fmt: skip
def test_bytes_are_written_as_bandwidths_are(size: float, text: str) -> None:
    assert decimal_bytes(size) == text


@pytest.mark.parametrize(("ms", "text"), [(0.0123, "12.3 µs"), (0.5, "500 µs"), (3.456, "3.46 ms"), (112.0, "112 ms")])
def test_times_are_written_in_what_they_are_small_in(ms: float, text: str) -> None:
    assert time_text(ms) == text
