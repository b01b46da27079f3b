"""Detected GPUs with figures of the table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.hardware.known import with_known_figures
from app.solver.ram import with_ram_bandwidth
from detectors.facts import Device, Machine
from detectors.registry import detect
from tests.fixtures.synthetic.machines import MACHINES, host


def gpus(machine: Machine) -> list[Device]:
    return [device for device in machine.devices if device.kind in ("dgpu", "igpu")]


@pytest.mark.parametrize("name", MACHINES)
def test_nothing_that_a_driver_says_is_replaced(tmp_path: Path, name: str) -> None:
    machine = detect(host(name, tmp_path), 60)
    filled = with_known_figures(machine)
    for before, after in zip(machine.devices, filled.devices, strict=True):
        if before.bandwidth_gbps is not None:
            assert after.bandwidth_gbps == before.bandwidth_gbps
        if before.fp16_tflops is not None:
            assert after.fp16_tflops == before.fp16_tflops
        assert replace(after, bandwidth_gbps=None, bandwidth_basis="table", fp16_tflops=None) == replace(
            before, bandwidth_gbps=None, bandwidth_basis="table", fp16_tflops=None
        )
    assert all(device.bandwidth_gbps and device.fp16_tflops for device in gpus(filled))


def test_a_card_by_its_ids_and_one_by_its_name(tmp_path: Path) -> None:
    by_ids = with_known_figures(detect(host("arch-i914900kf-rtx4090", tmp_path / "one"), 60))
    assert gpus(by_ids)[0].fp16_tflops == 165.2
    by_name = detect(host("wsl2-ryzen7800x3d-rtx4080", tmp_path / "two"), 60)
    assert gpus(by_name)[0].pci_id is None
    bare = replace(by_name, devices=tuple(replace(device, bandwidth_gbps=None) for device in by_name.devices))
    filled = gpus(with_known_figures(bare))[0]
    assert (filled.bandwidth_gbps, filled.bandwidth_basis, filled.fp16_tflops) == (717, "table", 97.5)


def test_the_size_decides_between_cards_of_one_id(tmp_path: Path) -> None:
    machine = detect(host("arch-i914900kf-rtx4090", tmp_path), 60)
    card = replace(gpus(machine)[0], name="NVIDIA Graphics Device", pci_id="10de:2206", bandwidth_gbps=None)
    odd = replace(card, pci_id="10de:2bb3")
    devices = {"72": 72, "48": 48}
    for gib in devices.values():
        pools = tuple(
            replace(pool, total_bytes=gib << 30) if pool.id == card.pool_id else pool for pool in machine.pools
        )
        changed = replace(machine, pools=pools, devices=(machine.devices[0], odd))
        assert gpus(with_known_figures(changed))[0].bandwidth_gbps == 1344
    neither = replace(machine, devices=(machine.devices[0], odd))  # 24 GiB: no card of that id has so much
    assert gpus(with_known_figures(neither))[0].bandwidth_gbps is None


def test_an_integrated_gpu_reads_as_fast_as_its_memory(tmp_path: Path) -> None:
    machine = detect(host("fedora43-ryzen7840hs-rx7700s-asleep", tmp_path), 60)
    bare = replace(
        machine,
        devices=tuple(replace(one, bandwidth_gbps=None) if one.kind == "igpu" else one for one in machine.devices),
    )
    found = next(device for device in with_known_figures(bare).devices if device.kind == "igpu")
    assert found.bandwidth_gbps == pytest.approx(89.6)
    assert found.bandwidth_basis == "driver"


def test_the_processor_of_an_apu_is_not_bounded_by_links_that_it_lacks(tmp_path: Path) -> None:
    machine = with_ram_bandwidth(detect(host("fedora43-ryzen7840hs-rx7700s-asleep", tmp_path), 60))
    assert machine.device("cpu").bandwidth_gbps == pytest.approx(89.6)


def test_an_unknown_gpu_stays_unknown(tmp_path: Path) -> None:
    machine = detect(host("arch-i914900kf-rtx4090", tmp_path), 60)
    strange = replace(gpus(machine)[0], name="NVIDIA RTX 9999", pci_id="10de:ffff")
    changed = replace(machine, devices=(machine.devices[0], strange))
    assert with_known_figures(changed) is changed
