"""Machines of words: what a detector would find on the machine that someone describes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.hardware.described import described_machine
from app.solver.ram import with_ram_bandwidth
from detectors.facts import Machine
from detectors.registry import detect
from tests.fixtures.synthetic.machines import host

GIB = 1 << 30


def cpu_gbps(machine: Machine) -> float | None:
    return with_ram_bandwidth(machine).device("cpu").bandwidth_gbps


@pytest.mark.parametrize(
    ("cpu", "memory", "channels", "low", "high"),
    [
        ("Threadripper PRO 7965WX (24c)", "DDR5-4800 RDIMM", 8, 240, 250),
        ("Threadripper PRO 7975WX (32c), FCLK 2100", "DDR5-5600 RDIMM", 8, 240, 250),
        ("Threadripper PRO 3955WX (16c)", "DDR4-3200", 8, 94, 94),
        ("AMD EPYC 9355 (32c Zen5)", "DDR5-6400 RDIMM", 12, 480, 496),
        ("EPYC 9374F NPS2 half", "DDR5-4800", None, 230, 231),
        ("Ryzen AI Max+ 395 (16c Zen5)", "LPDDR5X unified", None, 118, 124),
        ("Ryzen 5 9600X", "DDR5-6000", 2, 60, 63),
        ("Ryzen 9 7950X", "DDR5-5200", None, 69, 71),
        ("Ryzen 7 8845HS (8c)", "DDR5-5600", None, 89, 90),
        ("EPYC 9754", "DDR5-4800", None, 460, 461),
        ("i5-12400F (6c)", "DDR5-5600 single channel", None, 44.8, 44.8),
        ("2x Xeon Gold 6454S (32c each)", "DDR5-4800", 8, 614, 615),
        ("2x AMD EPYC 9355 (64c)", "DDR5-6000", 24, 960, 992),
    ],
)
def test_the_processor_reads_what_its_modules_and_links_let_it(
    cpu: str, memory: str, channels: int | None, low: float, high: float
) -> None:
    """Links of 47 GB/s (Zen 2, 3) and 60 to 62 (Zen 4, 5) a die; measured: 225 to 250 on four dies of Zen 4."""
    described = described_machine(cpu=cpu, memory=memory, channels=channels)
    assert described.unknown == ()
    found = cpu_gbps(described.machine)
    assert found is not None
    assert low - 0.1 <= found <= high


def test_a_measured_bandwidth_is_the_processors_and_a_rated_one_the_buss() -> None:
    measured = described_machine(cpu="EPYC 9355", memory_gbps=500, memory_gbps_measured=True).machine.device("cpu")
    assert (measured.bandwidth_gbps, measured.bandwidth_basis) == (500, "measured")
    rated = described_machine(cpu="Core i9-14900K", memory_gbps=76.8).machine
    assert rated.device("cpu").bandwidth_gbps is None
    assert rated.memory is not None
    assert rated.memory.bus is not None
    assert rated.memory.bus.theoretical_gbps == 76.8


def test_it_has_the_facts_of_the_same_machine_detected(tmp_path: Path) -> None:
    detected = detect(host("ubuntu2404-strixhalo", tmp_path))
    described = described_machine(
        cpu="AMD RYZEN AI MAX+ 395 w/ Radeon 8060S", gpus="8060S", ram_gib=125, gtt_gib=62.5
    ).machine
    assert detected.cpu is not None
    assert described.cpu is not None
    for name in (
        "vendor",
        "architecture",
        "sockets",
        "physical_cores",
        "logical_cpus",
        "isa",
        "family",
        "model_number",
    ):
        if name != "isa":
            assert getattr(described.cpu, name) == getattr(detected.cpu, name), name
    assert set(detected.cpu.isa) <= set(described.cpu.isa)
    assert len(described.cpu.l3_domains) == len(detected.cpu.l3_domains)
    one, two = (next(d for d in machine.devices if d.kind == "igpu") for machine in (described, detected))
    for name in ("name", "vendor", "pool_id", "arch", "bandwidth_gbps", "fp16_tflops", "pci_id", "compute_units"):
        assert getattr(one, name) == getattr(two, name), name
    assert one.gtt_bytes == two.gtt_bytes
    link = described.link("cpu", one.id)
    assert link is not None
    assert (link.path, link.peer_to_peer, link.bandwidth_gbps) == ("same memory", True, 256.0)
    assert [pool.id for pool in described.pools] == ["ram"]


def test_two_cards_beside_an_apu() -> None:
    described = described_machine(
        cpu="Ryzen AI Max+ 395", gpus="2x R9700 + 8060S iGPU", ram_gib=128, pcie="PCIe 4.0 x4; peer copy ~6.4 GB/s"
    )
    machine = described.machine
    ids = [device.id for device in machine.devices]
    assert len(set(ids)) == 4
    assert ids[0] == "cpu"
    cards = [device for device in machine.devices if device.kind == "dgpu"]
    assert [machine.pool(card.pool_id).total_bytes for card in cards] == [32 * GIB, 32 * GIB]
    assert len(machine.links) == 6
    to_host = machine.link("cpu", cards[0].id)
    assert to_host is not None
    assert to_host.bandwidth_gbps == pytest.approx(7.876)
    between = machine.link(cards[0].id, ids[-1])
    assert between is not None
    assert (between.path, between.peer_to_peer, between.bandwidth_gbps) == ("peer-to-peer", True, 6.4)


def test_each_card_has_the_slot_that_names_it() -> None:
    words = "5090 PCIe 5.0 x16; 4090 PCIe 4.0 x8; no P2P; Windows"
    machine = described_machine(cpu="EPYC 9355", gpus="RTX 5090 + RTX 4090", pcie=words).machine
    fast, slow = (device for device in machine.devices if device.kind == "dgpu")
    assert fast.link is not None
    assert slow.link is not None
    assert (fast.link.max_gtps, fast.link.max_width) == (32.0, 16)
    assert (slow.link.max_gtps, slow.link.max_width) == (16.0, 8)
    between = machine.link(fast.id, slow.id)
    assert between is not None
    assert between.peer_to_peer is False
    assert between.bandwidth_gbps == pytest.approx(15.75, rel=0.01)


def test_a_slot_that_is_not_stated_is_the_lesser_of_card_and_processor() -> None:
    old = described_machine(cpu="i5-9600K", gpus="RTX 5090")
    link = old.machine.link("cpu", "gpu:0000:01:00.0")
    assert link is not None
    assert link.basis == "estimated"
    assert link.bandwidth_gbps == pytest.approx(15.76, rel=0.01)
    assert "PCIe 3.0 x16 is assumed of GeForce RTX 5090" in old.assumed


def test_machines_with_one_memory_bring_their_processor() -> None:
    spark = described_machine(gpus="NVIDIA GB10").machine
    assert spark.cpu is not None
    assert (spark.cpu.physical_cores, spark.cpu.architecture) == (20, "aarch64")
    assert [kind.kind for kind in spark.cpu.core_types] == ["big", "little"]
    assert spark.pool("ram").total_bytes == 128 * GIB
    assert {device.pool_id for device in spark.devices} == {"ram"}
    mac = described_machine(gpus="Apple M3 Ultra", ram_gib=512).machine
    gpu = next(device for device in mac.devices if device.kind == "igpu")
    assert (gpu.bandwidth_gbps, gpu.limit_bytes) == (819.2, 384 * GIB)


def test_several_such_machines_are_reached_over_the_network() -> None:
    machine = described_machine(cpu="2x Ryzen AI Max+ 395", gpus="2x Radeon 8060S iGPU", ram_gib=128).machine
    assert [device.kind for device in machine.devices] == ["cpu", "igpu", "remote"]
    assert machine.cpu is not None
    assert machine.cpu.sockets == 1
    remote = machine.devices[2]
    assert machine.pool(remote.pool_id).total_bytes == 112 * GIB
    link = machine.link("cpu", remote.id)
    assert link is not None
    assert link.bandwidth_gbps is None


def test_memory_of_a_laptops_apu_sets_its_gpus_bandwidth() -> None:
    stated = described_machine(cpu="Ryzen 7 8845HS", memory="LPDDR5X-7500", gpus="780M").machine
    assert stated.devices[1].bandwidth_gbps == pytest.approx(120)
    assert described_machine(gpus="780M").machine.devices[1].bandwidth_gbps == 89.6


def test_kinds_of_cores_and_threads() -> None:
    cpu = described_machine(cpu="Core Ultra 7 265K (8P+12E)").machine.cpu
    assert cpu is not None
    assert [(kind.kind, kind.cores) for kind in cpu.core_types] == [("performance", 8), ("efficiency", 12)]
    assert (cpu.decode_threads, cpu.prefill_threads, cpu.logical_cpus, cpu.smt) == (8, 20, 20, False)
    old = described_machine(cpu="i9-14900K").machine.cpu
    assert old is not None
    assert [len(kind.cpus) for kind in old.core_types] == [16, 16]
    two = described_machine(cpu="2x Xeon Platinum 8480+", ram_gib=1024).machine.cpu
    assert two is not None
    assert (two.sockets, two.physical_cores, len(two.numa_nodes)) == (2, 112, 2)
    assert "amx_int8" in two.isa


def test_virtual_cpus_are_a_part_of_a_processor() -> None:
    cpu = described_machine(cpu="12 vCPU AMD EPYC 9654").machine.cpu
    assert cpu is not None
    assert (cpu.physical_cores, cpu.logical_cpus, cpu.hypervisor) == (6, 12, "unknown")
    assert "avx512_vnni" in cpu.isa


def test_nothing_said_is_nothing_known() -> None:
    described = described_machine()
    assert described.machine.cpu is None
    assert [device.id for device in described.machine.devices] == ["cpu"]
    assert described.machine.memory is not None
    assert described.machine.memory.bus is None
    assert described.unknown == ()
    assert described.assumed == ("64 GiB of system memory are assumed",)


def test_what_is_not_understood_is_said_in_sentences() -> None:
    described = described_machine(cpu="EPYC 9254P", memory="quick", gpus="RTX 5091", pcie="warp")
    assert len(described.unknown) == 4
    assert (
        described.unknown[0] == "No processor is known as 'EPYC 9254P'; nearest are EPYC 9254, EPYC 9654P, EPYC 9554P"
    )
    assert "GeForce RTX 5090" in described.unknown[1]


def test_the_same_words_make_the_same_machine() -> None:
    words = {"cpu": "EPYC 9355", "gpus": "2x RTX 3090"}
    assert described_machine(**words).machine == described_machine(**words).machine  # type: ignore[arg-type]
