"""Every row of the tables: where it is from, and whether its numbers can be."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from app.hardware.cpus import find_cpu
from app.hardware.gpus import find_gpu, gpu_by_pci
from app.hardware.tables import CpuModel, GpuModel, cpu_models, gpu_models

GPUS = gpu_models()
CPUS = cpu_models()
KNOWN_ISA = {
    "avx", "avx2", "f16c", "fma", "avx_vnni", "avx512f", "avx512bw", "avx512vbmi", "avx512_vnni", "avx512_bf16",
    "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
}  # fmt: skip
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "gpus.csv"


@pytest.mark.parametrize("gpu", GPUS, ids=lambda model: model.name)
def test_a_gpu_has_a_source_and_numbers_that_can_be(gpu: GpuModel) -> None:
    assert len(gpu.source) > 10
    assert 25 < gpu.bandwidth_gbps < 10_000
    assert gpu.fp16_tflops is None or 0.5 < gpu.fp16_tflops < 3000
    assert gpu.kind == "igpu" or (gpu.vram_gib is not None and 2 <= gpu.vram_gib <= 300)
    assert gpu.compute_units is None or 1 <= gpu.compute_units <= 320
    assert gpu.kind == "igpu" or gpu.slot
    assert all(len(one.split(":")) in (2, 3) and len(one.split(":")[1]) == 4 for one in gpu.pci_ids)


@pytest.mark.parametrize("cpu", CPUS, ids=lambda model: model.name)
def test_a_processor_has_a_source_and_numbers_that_can_be(cpu: CpuModel) -> None:
    assert len(cpu.source) >= 9
    assert cpu.cores is not None
    assert cpu.threads is not None
    assert cpu.dies is not None
    assert cpu.bits is not None
    assert cpu.mts is not None
    assert cpu.caches is not None
    assert 4 <= cpu.cores <= 192
    assert cpu.cores <= cpu.threads <= 2 * cpu.cores
    assert 0 <= cpu.dies <= cpu.cores
    assert cpu.dies <= 16
    assert 1 <= cpu.caches <= 32
    assert cpu.bits % 32 == 0
    assert 1333 <= cpu.mts <= 9600
    assert 10 < cpu.bits / 8 * cpu.mts / 1000 < 1300
    assert set(cpu.isa) <= KNOWN_ISA
    assert cpu.isa
    assert cpu.vendor != "AMD" or cpu.dies or "Threadripper PRO" not in cpu.name


def test_each_name_stands_for_its_own_row() -> None:
    wrong = [(gpu.name, found and found.name) for gpu in GPUS if (found := find_gpu(gpu.name)) != gpu]
    assert wrong == []
    assert [cpu.name for cpu in CPUS if find_cpu(cpu.name) != cpu] == []


def test_each_other_name_stands_for_a_row_that_has_it() -> None:
    open_ends = {"Radeon 840M / 860M", "Radeon 880M / 890M"}  # the driver's own words for two parts of one chip
    for gpu in GPUS:
        for alias in set(gpu.aliases) - open_ends:
            found = find_gpu(alias)
            assert found is not None, alias
            assert alias in found.aliases or found.name == alias, alias
    for cpu in CPUS:
        assert [alias for alias in cpu.aliases if find_cpu(alias) != cpu] == []


def test_no_name_is_listed_twice() -> None:
    for names in ([gpu.name for gpu in GPUS], [cpu.name for cpu in CPUS]):
        assert len(names) == len(set(names))


def test_a_processors_own_gpu_is_in_the_table() -> None:
    names = {gpu.name for gpu in GPUS if gpu.kind == "igpu"}
    assert {cpu.gpu for cpu in CPUS if cpu.gpu} <= names


def test_pci_ids_of_one_card_decide_and_sizes_do_where_they_are_shared() -> None:
    found = gpu_by_pci("10de:2684", 0xA1, 24 << 30)
    assert found is not None
    assert found.name == "GeForce RTX 4090"
    small, large = (gpu_by_pci("10de:2d04", 0xA1, gib << 30) for gib in (8, 16))
    assert small is not None
    assert large is not None
    assert (small.vram_gib, large.vram_gib) == (8, 16)
    assert gpu_by_pci("10de:2d04", 0xA1, None) is None
    xtx = gpu_by_pci("1002:744c", 0xC8, None)
    assert xtx is not None
    assert xtx.name == "Radeon RX 7900 XTX"
    assert gpu_by_pci("10de:ffff", 0, None) is None


DIFFERENT = {"P40": "its FP16 runs at 1/64 of FP32, and inference computes in FP32 (or INT8) there: TFLOPS is FP32"}


@pytest.mark.skipif(not PUBLISHED.exists(), reason="the table of published figures is not beside the checkout")
def test_published_figures_agree() -> None:
    with PUBLISHED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    for row in rows:
        found = find_gpu(row["name"])
        assert found is not None, row["name"]
        assert found.bandwidth_gbps == pytest.approx(float(row["bandwidth_gbs"]), rel=0.005), row["name"]
        if row["fp16_tflops_dense"] and row["name"] not in DIFFERENT:
            assert found.fp16_tflops == pytest.approx(float(row["fp16_tflops_dense"]), rel=0.005), row["name"]
        if row["vram_gb"]:
            assert found.vram_gib == float(row["vram_gb"]), row["name"]
