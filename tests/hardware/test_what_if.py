"""A machine with another part."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import UsageError
from app.hardware.described import described_machine
from app.hardware.what_if import changed_machine
from app.solver.ram import with_ram_bandwidth
from detectors.facts import Device, Machine
from detectors.registry import detect
from tests.fixtures.synthetic.machines import host

GIB = 1 << 30


@pytest.fixture
def halo(tmp_path: Path) -> Machine:
    return detect(host("debian13-strixhalo-w7900-p2p", tmp_path), 60)


@pytest.fixture
def desktop(tmp_path: Path) -> Machine:
    return detect(host("mint22-ryzen7950x-rtx3090-x4", tmp_path), 60)


def cards(machine: Machine) -> list[Device]:
    return [device for device in machine.devices if device.kind == "dgpu"]


def complete(machine: Machine) -> bool:
    """Whether every pair has its link, and every device its pool."""
    ids = [device.id for device in machine.devices]
    pairs = {frozenset((link.from_id, link.to_id)) for link in machine.links}
    return (
        len(ids) == len(set(ids))
        and len(machine.links) == len(pairs) == len(ids) * (len(ids) - 1) // 2
        and {device.pool_id for device in machine.devices} == {pool.id for pool in machine.pools}
    )


def test_the_upgrade_question(halo: Machine) -> None:
    changed, said = changed_machine(halo, ['gpu="RTX 5090"', "pcie=5x16", "ram=192"])
    assert complete(changed)
    assert [device.name for device in cards(changed)] == ["NVIDIA GeForce RTX 5090"]
    assert changed.pool("ram").total_bytes == 192 * GIB
    link = changed.link("cpu", cards(changed)[0].id)
    assert link is not None
    assert link.bandwidth_gbps == pytest.approx(63, rel=0.01)
    assert said == (
        "192 GiB of memory in place of 126",
        "NVIDIA GeForce RTX 5090 in place of AMD Radeon PRO W7900, in its slot (7.9 GB/s)",
        "NVIDIA GeForce RTX 5090 at 5x16 (63.0 GB/s)",
    )
    before = next(device for device in halo.devices if device.kind == "igpu")
    assert changed.device(before.id).bandwidth_gbps == before.bandwidth_gbps


def test_a_card_in_the_place_of_another_has_its_slot(desktop: Machine) -> None:
    changed, _ = changed_machine(desktop, ["gpu=RTX 5090"])
    link = changed.link("cpu", cards(changed)[0].id)
    assert link is not None
    assert link.bandwidth_gbps == pytest.approx(7.876)


@pytest.mark.parametrize("word", ["gpu=+RTX 3090", "add-gpu=RTX 3090", 'add_gpu="RTX 3090"', "gpu=+ RTX 3090"])
def test_a_card_more(desktop: Machine, word: str) -> None:
    changed, said = changed_machine(desktop, [word])
    assert complete(changed)
    assert len(cards(changed)) == 2
    assert cards(changed)[0] == cards(desktop)[0]
    assert said == ("NVIDIA GeForce RTX 3090 (PCIe 4.0 x16 is assumed of GeForce RTX 3090) added",)


def test_several_cards_and_none(desktop: Machine) -> None:
    four, _ = changed_machine(desktop, ["gpu=4x RTX 3090"])
    assert complete(four)
    assert len(cards(four)) == 4
    none, said = changed_machine(desktop, ["gpu=none"])
    assert complete(none)
    assert [device.id for device in none.devices] == ["cpu"]
    assert said == ("without NVIDIA GeForce RTX 3090",)
    again, said = changed_machine(none, ["gpu=none"])
    assert again == none
    assert said == ("there is no discrete GPU anyway",)


def test_what_stays_keeps_its_links(halo: Machine) -> None:
    changed, _ = changed_machine(halo, ["add-gpu=R9700"])
    assert complete(changed)
    assert set(halo.links) <= set(changed.links)
    new = cards(changed)[1]
    between = changed.link(cards(changed)[0].id, new.id)
    assert between is not None
    assert between.peer_to_peer is None
    assert between.bandwidth_gbps == pytest.approx(7.876)


def test_peer_to_peer_on_and_off(halo: Machine) -> None:
    off, said = changed_machine(halo, ["p2p=off"])
    assert said == ("peer-to-peer off between GPUs",)
    links = [link for link in off.links if link.path == "through the host"]
    assert [link.peer_to_peer for link in links] == [False]
    on, _ = changed_machine(off, ["p2p=on"])
    assert [link.peer_to_peer for link in on.links if link.path == "peer-to-peer"] == [True]


def test_more_memory_is_free_and_less_is_less(halo: Machine) -> None:
    old = halo.pool("ram")
    assert old.available_bytes is not None
    more, _ = changed_machine(halo, ["ram=256"])
    new = more.pool("ram")
    assert new.available_bytes is not None
    assert new.total_bytes - new.available_bytes == old.total_bytes - old.available_bytes
    gpu = next(device for device in more.devices if device.kind == "igpu")
    assert gpu.limit_bytes == next(device for device in halo.devices if device.kind == "igpu").limit_bytes
    less, _ = changed_machine(halo, ["ram=64"])
    for device in less.devices:
        if device.pool_id == "ram":
            assert device.limit_bytes is None or device.limit_bytes <= 64 * GIB
            assert device.available_bytes is None or device.available_bytes <= 64 * GIB


def test_another_gtt(halo: Machine) -> None:
    changed, said = changed_machine(halo, ["gtt=64"])
    gpu = next(device for device in changed.devices if device.kind == "igpu")
    assert gpu.gtt_bytes == 64 * GIB
    assert gpu.limit_bytes == 64 * GIB + (gpu.carveout_bytes or 0)
    assert said == ("64 GiB of GTT in place of 112",)


def test_faster_memory_and_fewer_channels(desktop: Machine) -> None:
    fast, said = changed_machine(desktop, ["memory=DDR5-6400"])
    assert said == ("DDR5-6400: 102 GB/s in place of 58",)
    assert with_ram_bandwidth(fast).device("cpu").bandwidth_gbps == pytest.approx(70.0), "what its fabric lets through"
    _, said = changed_machine(desktop, ["channels=1"])
    assert said == ("1 memory channel: 29 GB/s in place of 58",)
    both, _ = changed_machine(desktop, ["channels=1", "memory=DDR5-6400"])
    assert both.memory is not None
    assert both.memory.bus is not None
    assert both.memory.bus.theoretical_gbps == pytest.approx(51.2)


def test_memory_changes_a_measured_bandwidth_in_proportion() -> None:
    machine = described_machine(
        cpu="i9-14900K", memory="DDR5-5600", memory_gbps=80, memory_gbps_measured=True, gpus="RTX 4090"
    ).machine
    changed, _ = changed_machine(machine, ["memory=DDR5-7000"])
    cpu = changed.device("cpu")
    assert cpu.bandwidth_gbps == pytest.approx(100)
    assert cpu.bandwidth_basis == "estimated"


def test_another_processor(halo: Machine, desktop: Machine) -> None:
    server, said = changed_machine(halo, ["cpu=EPYC 9355", "ram=768"])
    assert complete(server)
    assert [device.kind for device in server.devices] == ["cpu", "dgpu"]
    assert with_ram_bandwidth(server).device("cpu").bandwidth_gbps == pytest.approx(480, rel=0.04)
    assert server.pool("ram").total_bytes == 768 * GIB
    assert said[1].startswith("AMD EPYC 9355 in place of AMD RYZEN AI MAX+ 395")
    apu, _ = changed_machine(desktop, ["ram=128", "cpu=Ryzen AI Max+ 395"])
    assert complete(apu)
    gpu = next(device for device in apu.devices if device.kind == "igpu")
    assert (gpu.name, gpu.gtt_bytes) == ("AMD Radeon 8060S", 112 * GIB)


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("gpo=RTX 5090", "There is nothing called 'gpo' to change", 'gpu="RTX 5090"'),
        ("colour=blue", "There is nothing called 'colour' to change", "There are ram, cpu"),
        ("gpu=RTX 5091", "No GPU is known as 'RTX 5091'", "GeForce RTX 5090"),
        ("gpu=RTX 6000", "No GPU is known as 'RTX 6000'", "RTX 6000 Ada"),
        ("gpu=8060S", "The AMD Radeon 8060S is part of a processor", "cpu="),
        ("cpu=EPYC 9254P", "No processor is known as 'EPYC 9254P'", "EPYC 9254"),
        ("cpu=12-core Ryzen", "No processor is known as '12-core Ryzen'", "."),
        ("ram=lots", "ram is a number of GiB, not 'lots'", "ram=192"),
        ("ram=0", "ram is a number of GiB, not '0'", "ram=192"),
        ("memory=fast", "'fast' is no memory with a speed", "DDR5-6400"),
        ("channels=x", "channels is a number, not 'x'", "channels=8"),
        ("pcie=warp", "'warp' is no slot", "5x16"),
        ("gtt=64", "Only AMD's integrated GPUs have a GTT to set", "none"),
        ("p2p=maybe", "p2p is on or off, not 'maybe'", "p2p=on"),
        ("p2p=on", "No two GPUs here could reach each other's memory", "two"),
        ("gpu=", "gpu needs a value", "RTX 5090"),
        ("ram", "ram needs a value", "ram=192"),
        ("", "There is nothing called '' to change", "There are"),
    ],
)
def test_what_cannot_be_done_is_said(desktop: Machine, word: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        changed_machine(desktop, [word])
    assert raised.value.message == message
    assert hint in raised.value.hint


def test_more_gtt_than_memory_is_refused(halo: Machine) -> None:
    with pytest.raises(UsageError, match="are more than the 125 GiB of memory"):
        changed_machine(halo, ["gtt=200"])
    changed, _ = changed_machine(halo, ["gtt=200", "ram=256"])
    assert changed.pool("ram").total_bytes == 256 * GIB


def test_the_machine_itself_is_not_touched(halo: Machine) -> None:
    same, said = changed_machine(halo, [])
    assert same is halo
    assert said == ()
