"""What a measured way to another host changes in the costs, and what stays a guess without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.solver.constants import RPC_BANDWIDTH_GBPS, RPC_FETCHES_AHEAD
from app.solver.decode import decode_costs
from app.solver.network import network_gbps
from app.solver.plan import Parameters, Placement
from app.solver.prefill import prefill_costs
from app.solver.scene import Cost, Scene
from app.units import GIB
from detectors.facts import Device, Link, Machine, MemoryPool
from tests.solver.machines import gpt_oss_120b, plain, scene

NEAR, FAR = "remote:10.0.0.7:50052", "remote:10.0.0.8:50052"
PARAMETERS = Parameters(8192, 1, 512, 2048, "f16", "f16", True, "mmap", 8, 8)
LATENCY_US = 5000.0
"""One way: 10 ms there and back."""


def networked(*links: Link) -> Scene:
    """A host with two others."""
    host = plain()
    remotes = tuple(Device(one, "remote", one, "", one) for one in (NEAR, FAR))
    pools = tuple(MemoryPool(one.pool_id, one.name, 64 * GIB, 64 * GIB) for one in remotes)
    machine = replace(host, devices=(*host.devices, *remotes), pools=(*host.pools, *pools), links=links)
    return scene(machine, gpt_oss_120b())


def way(device_id: str, gbps: float | None = 0.1, latency_us: float | None = LATENCY_US) -> Link:
    return Link("cpu", device_id, gbps, latency_us, False, "measured")


def quantity(costs: list[Cost], coefficient: str, part: str | None = None) -> float:
    return sum(cost.quantity for cost in costs if cost.coefficient == coefficient and part in (None, cost.part))


def decode(one: Scene, attention: str, experts: str) -> list[Cost]:
    return decode_costs(one, Placement.on(attention, (experts,) * len(one.shape.layers)), PARAMETERS, context=100)


@pytest.mark.parametrize(
    ("attention", "experts", "fetches"), [("cpu", NEAR, 1), (NEAR, "cpu", RPC_FETCHES_AHEAD), (FAR, NEAR, 3)]
)
def test_each_layer_waits_for_every_fetch_by_the_measured_latency(attention: str, experts: str, fetches: int) -> None:
    one = networked(way(NEAR), way(FAR))
    waited = quantity(decode(one, attention, experts), "rpc_wait", "crossing")
    assert waited == pytest.approx(10.0 * fetches * len(one.shape.layers))


def test_a_measured_latency_takes_the_place_of_the_guess_for_a_node() -> None:
    guessed, measured = decode(networked(), NEAR, NEAR), decode(networked(way(NEAR)), NEAR, NEAR)
    assert (quantity(guessed, "rpc_node"), quantity(guessed, "rpc_wait")) == (1, 0)
    assert (quantity(measured, "rpc_node"), quantity(measured, "rpc_wait")) == (0, 10.0)


def test_a_bandwidth_without_a_latency_leaves_the_guess_for_a_node() -> None:
    costs = decode(networked(way(NEAR, latency_us=None)), NEAR, NEAR)
    assert (quantity(costs, "rpc_node"), quantity(costs, "rpc_wait")) == (1, 0)


def test_activations_move_at_the_measured_bandwidth() -> None:
    slow, fast, unknown = (
        quantity(decode(networked(*links), "cpu", NEAR), "rpc_bytes")
        for links in ((way(NEAR, 0.1),), (way(NEAR, 1.0),), ())
    )
    assert slow == pytest.approx(10 * fast)
    assert unknown == pytest.approx(fast / RPC_BANDWIDTH_GBPS)


def test_a_prompt_waits_once_per_ubatch_and_moves_every_token() -> None:
    def prompt(one: Scene, ubatch: int) -> list[Cost]:
        placement = Placement.on("cpu", (NEAR,) * len(one.shape.layers))
        return prefill_costs(one, placement, replace(PARAMETERS, ubatch=ubatch), prompt_tokens=2048)

    one = networked(way(NEAR))
    narrow, wide = prompt(one, 256), prompt(one, 512)
    assert quantity(narrow, "rpc_wait") == pytest.approx(2 * quantity(wide, "rpc_wait"))
    assert quantity(narrow, "rpc_bytes") == pytest.approx(quantity(wide, "rpc_bytes"))
    assert quantity(prompt(networked(), 256), "rpc_bytes") == pytest.approx(
        quantity(narrow, "rpc_bytes") * 0.1 / RPC_BANDWIDTH_GBPS
    )


def test_between_two_other_hosts_everything_goes_over_both_ways() -> None:
    machine: Machine = networked(way(NEAR, 0.1), way(FAR, 0.3)).machine
    gbps, basis = network_gbps(machine, machine.device(NEAR), machine.device(FAR))
    assert gbps == pytest.approx(0.075)
    assert basis == "measured"
    half = networked(way(NEAR, 0.1)).machine
    assert network_gbps(half, half.device(NEAR), half.device(FAR))[1] == "estimated"
    none = networked().machine
    assert network_gbps(none, none.device(NEAR), none.device(FAR)) == (RPC_BANDWIDTH_GBPS, "estimated")
