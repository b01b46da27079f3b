"""Every name in the published measurements, if they are beside the checkout: understood, or listed with the reason."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from app.hardware.cpus import read_cpu
from app.hardware.gpus import read_gpus
from app.hardware.memory import read_memory
from app.hardware.pcie import read_pcie

ROWS = Path(__file__).resolve().parents[3] / "shared" / "data" / "bench_rows.csv"

pytestmark = pytest.mark.skipif(not ROWS.exists(), reason="the published measurements are not beside the checkout")

GPUS = {
    "4 GPUs (CUDA0-3; model not stated here)": "the model is not stated",
    "AMD gfx1030": "a target of the compiler: four cards have it, with 512 or 576 GB/s",
    "Radeon 840M / 860M Graphics": "the driver's name for two GPUs; the processor says which",
    "one consumer-grade GPU (14 GB needed)": "the model is not stated",
    "one consumer-grade GPU (14GB needed)": "the model is not stated",
}
CPUS = {
    "dual-socket CPU (not named)": "not named; that there are two is understood",
    "not stated in this comment": "not named",
    "one NUMA node, cores 0-127": "not named",
    "rented host, 30 threads": "not named; the threads are understood",
    "single socket (not named)": "not named",
}
NOT_EXACT = {
    "Intel Arrow Lake 6P+8E+2LPE": "three models have these cores",
    "Ryzen (zen4)": "a generation",
    "dual Xeon (not stated here; -t 48 --numa distribute)": "a brand",
}
SLOTS = {"node link 50Gbps per repo docs": "a network, not a slot"}


def values(column: str) -> list[str]:
    with ROWS.open(newline="") as file:
        return sorted({row[column] for row in csv.DictReader(file)} - {""})


def test_gpus() -> None:
    assert {text for text in values("gpu") if read_gpus(text).unknown} == set(GPUS)
    own = read_cpu("AMD Ryzen AI 7 350 w/ Radeon 860M").model
    assert own is not None
    assert read_gpus("Radeon 840M / 860M Graphics", own=own.gpu).unknown == ()


def test_processors() -> None:
    read = {text: read_cpu(text) for text in values("cpu")}
    assert {text for text, words in read.items() if words.model is None} == set(CPUS)
    assert {text for text, words in read.items() if words.model is not None and not words.model.exact} == set(NOT_EXACT)


def test_stated_cores_are_those_of_the_table() -> None:
    wrong = {}
    for text in values("cpu"):
        words = read_cpu(text)
        if words.model is not None and words.cores is not None and words.model.cores is not None:
            cores = words.model.cores
            if words.cores not in (cores, cores * words.sockets):
                wrong[text] = cores
    assert wrong == {"Xeon E5-2683 v4 (32 cores as stated)": 16}  # 32 are its threads


def test_memory() -> None:
    assert [text for text in values("mem_type") if read_memory(text).unknown] == []


def test_slots() -> None:
    assert {text for text in values("pcie") if not read_pcie(text).understood} == set(SLOTS)
