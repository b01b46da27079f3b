from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from detectors.cpu import detect_cpu
from detectors.facts import Device, KernelFacts, MemoryPool, PcieLink
from detectors.host import Host
from detectors.pools import with_carveouts
from detectors.registry import Peer
from detectors.topology import link_table
from tests.fixtures.synthetic.machines import write

GIB = 1 << 30
RAM = MemoryPool("ram", "System memory", 64 * GIB, 60 * GIB)
VRAM = {f"vram:{n}": MemoryPool(f"vram:{n}", "VRAM", 24 * GIB, None) for n in (1, 2)}
POOLS = {"ram": RAM, **VRAM}
CPU = Device("cpu", "cpu", "CPU", "AMD", "ram")
X16 = PcieLink(current_gtps=2.5, current_width=16, max_gtps=16.0, max_width=16)
CARD = Device(
    "gpu:1", "dgpu", "Card 1", "AMD", "vram:1", link=X16, kfd_node=1, visible_vram_bytes=24 * GIB, iommu="DMA"
)
OTHER = replace(CARD, id="gpu:2", name="Card 2", pool_id="vram:2", kfd_node=2, link=replace(X16, current_width=4))
KERNEL = KernelFacts("6.18", "", None, amd_p2p="on")


def test_every_pair_has_one_link_and_the_slower_slot_decides() -> None:
    links = link_table((CPU, CARD, OTHER), POOLS, (), KERNEL)
    assert [(link.from_id, link.to_id) for link in links] == [("cpu", "gpu:1"), ("cpu", "gpu:2"), ("gpu:1", "gpu:2")]
    assert [link.bandwidth_gbps for link in links] == pytest.approx([31.504, 7.876, 7.876])
    assert [link.path for link in links] == ["host", "host", "through the host"]


@pytest.mark.parametrize(
    ("card", "kernel", "why"),
    [
        (CARD, replace(KERNEL, amd_p2p="not built"), "built without CONFIG_HSA_AMD_P2P"),
        (CARD, replace(KERNEL, amd_p2p="off"), "pcie_p2p is off"),
        (replace(CARD, kfd_node=None), KERNEL, "does not list Card 1"),
        (replace(CARD, visible_vram_bytes=256 << 20), KERNEL, "a part of the memory of Card 1 (no Resizable BAR)"),
        (replace(CARD, iommu="identity"), KERNEL, "a BAR beyond the peer's reach"),
        (CARD, KERNEL, "the chipset does not support it"),
        (replace(CARD, vendor="NVIDIA"), KERNEL, "different makers"),
    ],
)
def test_the_reason_why_amd_gpus_do_not_reach_each_other(card: Device, kernel: KernelFacts, why: str) -> None:
    (link,) = link_table((card, OTHER), POOLS, (), kernel)
    assert link.peer_to_peer is False
    assert why in link.why


def test_a_drivers_word_goes_before_any_reasoning() -> None:
    peer = Peer("gpu:2", "gpu:1", True, "xGMI", "xgmi", 50.0)
    (link,) = link_table((CARD, OTHER), POOLS, (peer,), replace(KERNEL, amd_p2p="off"))
    assert (link.path, link.peer_to_peer, link.bandwidth_gbps) == ("xgmi", True, 50.0)


def test_a_tunnel_has_no_bandwidth_and_says_so() -> None:
    card = replace(CARD, link=replace(X16, tunnelled=True))
    (link,) = link_table((CPU, card), POOLS, (), KERNEL)
    assert link.bandwidth_gbps is None
    assert "Thunderbolt or USB4" in link.how


def _apu(carveout: int, gtt: int, used: int = 0) -> Device:
    return Device(
        "gpu:0", "igpu", "APU", "AMD", "ram", gtt_bytes=gtt, carveout_bytes=carveout, carveout_used_bytes=used,
        gtt_used_bytes=0,
    )  # fmt: skip


def test_a_carve_out_is_in_the_pool_once_and_not_the_processors() -> None:
    pools, (cpu, gpu) = with_carveouts((RAM,), (CPU, _apu(96 * GIB, 32 * GIB, used=1 * GIB)))
    assert (pools[0].total_bytes, pools[0].available_bytes) == (160 * GIB, 155 * GIB)
    assert (cpu.limit_bytes, cpu.available_bytes) == (64 * GIB, 60 * GIB)
    assert (gpu.limit_bytes, gpu.available_bytes) == (128 * GIB, 127 * GIB)


def test_gtt_that_is_not_free_is_not_the_gpus() -> None:
    _, (_, gpu) = with_carveouts((replace(RAM, available_bytes=20 * GIB),), (CPU, _apu(GIB, 56 * GIB)))
    assert (gpu.limit_bytes, gpu.available_bytes) == (57 * GIB, 21 * GIB)


def test_gtt_beyond_a_cgroups_limit_is_not_counted() -> None:
    limited = MemoryPool("ram", "System memory", 16 * GIB, 15 * GIB, 64 * GIB)
    (pool,), (cpu, gpu) = with_carveouts((limited,), (CPU, _apu(GIB, 56 * GIB)))
    assert (pool.total_bytes, pool.physical_bytes) == (17 * GIB, 65 * GIB)
    assert (cpu.limit_bytes, gpu.limit_bytes) == (16 * GIB, 17 * GIB)


def test_without_an_apu_nothing_changes() -> None:
    assert with_carveouts((RAM,), (CPU, CARD)) == ((RAM,), (CPU, CARD))


def test_an_amd_processor_with_dense_cores_is_told_by_its_clocks(tmp_path: Path) -> None:
    root = write("opensuse-ryzen5600-none", tmp_path)
    for cpu in (2, 3, 4, 5, 8, 9, 10, 11):
        (root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq").write_text("3300000\n")
    cpu_facts = detect_cpu(Host(root)).cpu
    assert cpu_facts is not None
    assert [(kind.kind, kind.cores, kind.max_mhz) for kind in cpu_facts.core_types] == [
        ("performance", 2, 5100),
        ("efficiency", 4, 3300),
    ]
    assert cpu_facts.core_types_how == "cpuinfo_max_freq"
    assert (cpu_facts.decode_threads, cpu_facts.prefill_threads) == (2, 6)
