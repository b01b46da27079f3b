"""Processors as people and kernels write them."""

from __future__ import annotations

import pytest

from app.hardware.cpus import find_cpu, read_cpu

WRITTEN = {
    "TR PRO 7965WX": ("Threadripper PRO 7965WX", 1),
    "TRPRO 5955WX": ("Threadripper PRO 5955WX", 1),
    "Threadripper PRO 7975WX (32c), FCLK 2100": ("Threadripper PRO 7975WX", 1),
    "AMD Ryzen Threadripper PRO 7965WX 24-Cores": ("Threadripper PRO 7965WX", 1),
    "64-core CPU (TR PRO 3995WX class)": ("Threadripper PRO 3995WX", 1),
    "Threadripper PRO 39x5WX, 12 cores (test rig)": ("Threadripper PRO 3945WX", 1),
    "Threadripper 7960X": ("Threadripper 7960X", 1),
    "2x AMD EPYC 9355 (64c)": ("EPYC 9355", 2),
    "AMD EPYC 9355 32-Core Processor": ("EPYC 9355", 1),
    "2P EPYC 7763": ("EPYC 7763", 2),
    "dual EPYC 7742": ("EPYC 7742", 2),
    "EPYC 7B13": ("EPYC 7B13", 1),
    "EPYC 9334QS": ("EPYC 9334", 1),
    "EPYC 9654 S0 (DDR5-4800)": ("EPYC 9654", 1),
    "Intel Xeon QYFS ES (8480 equiv.)": ("Xeon Platinum 8480+", 1),
    "INTEL(R) XEON(R) PLATINUM 8592+": ("Xeon Platinum 8592+", 1),
    "Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz": ("Xeon E5-2680 v4", 1),
    "Xeon E5-2680v4 x2": ("Xeon E5-2680 v4", 2),
    "2 x Xeon E5-2697 v3": ("Xeon E5-2697 v3", 2),
    "Xeon 6980P (128c), 1 socket via numactl -N 0 -m 0": ("Xeon 6980P", 1),
    "1 socket Xeon Gold 6454S (32c)": ("Xeon Gold 6454S", 1),
    "2x Xeon Gold 6454S (32c each)": ("Xeon Gold 6454S", 2),
    "W-3495X": ("Xeon w9-3495X", 1),
    "Intel(R) Core(TM) i9-10900X CPU @ 3.70GHz": ("Core i9-10900X", 1),
    "13th Gen Intel(R) Core(TM) i9-13900HK": ("Core i9-13900HK", 1),
    "i5-12400F (6c)": ("Core i5-12400F", 1),
    "i9 14900 KS": ("Core i9-14900KS", 1),
    "14900k": ("Core i9-14900K", 1),
    "Core Ultra 7 265K (8P+12E)": ("Core Ultra 7 265K", 1),
    "Intel(R) Core(TM) Ultra 9 185H": ("Core Ultra 9 185H", 1),
    "Ryzen 7950X": ("Ryzen 9 7950X", 1),
    "ryzen 9 9950x3d": ("Ryzen 9 9950X3D", 1),
    "ryzen9 9950x3d": ("Ryzen 9 9950X3D", 1),
    "5800 X3D": ("Ryzen 7 5800X3D", 1),
    "AMD 9900X": ("Ryzen 9 9900X", 1),
    "Intel 9900X": ("Core i9-9900X", 1),
    "AMD RYZEN AI MAX+ 395 w/ Radeon 8060S": ("Ryzen AI Max+ 395", 1),
    "Strix Halo": ("Ryzen AI Max+ 395", 1),
    "AMD Ryzen AI 9 HX 370 w/ Radeon 890M": ("Ryzen AI 9 HX 370", 1),
    "Cortex-A725 + Cortex-X925": ("NVIDIA GB10", 1),
    "Apple M4 Pro": ("Apple M4 Pro", 1),
    "Mac Studio M2 Ultra": ("Apple M2 Ultra", 1),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written_is_found(text: str) -> None:
    words = read_cpu(text)
    assert words.model is not None
    assert words.model.exact
    assert (words.model.name, words.sockets) == WRITTEN[text]


@pytest.mark.parametrize("text", ["Ryzen 9 9999X", "EPYC 9254P", "i7-99999", "9999", "rented host, 30 threads"])
def test_a_number_that_is_not_listed_is_not_guessed(text: str) -> None:
    assert read_cpu(text).model is None


def test_the_nearest_names_are_offered() -> None:
    assert read_cpu("EPYC 9254P").nearest[0] == "EPYC 9254"
    assert "Ryzen 9 9950X" in read_cpu("Ryzen 9 9951X").nearest


@pytest.mark.parametrize(
    ("text", "cores", "dies", "bits"),
    [
        ("12-core Ryzen", 12, 2, 128),
        ("8-core Ryzen 7000", 8, 1, 128),
        ("EPYC (Milan) 64 core", 64, 8, 512),
        ("Threadripper PRO 32 cores", 32, 4, 512),
        ("Intel Arrow Lake 6P+8E+2LPE", 16, 0, 128),
        ("Ryzen (zen4)", None, None, 128),
        ("dual Xeon (not stated here; -t 48)", None, 0, None),
    ],
)
def test_what_all_that_it_could_be_have_in_common(
    text: str, cores: int | None, dies: int | None, bits: int | None
) -> None:
    model = read_cpu(text).model
    assert model is not None
    assert not model.exact
    assert (model.cores, model.dies, model.bits) == (cores, dies, bits)
    assert find_cpu(text) is None


def test_a_name_of_two_makers_is_left_open() -> None:
    model = read_cpu("9900X").model
    assert model is not None
    assert not model.exact
    assert model.cores is None


def test_what_else_is_said() -> None:
    words = read_cpu("EPYC 9175F S0 (DDR5-6400 8ch)")
    assert (words.channels, words.mts, words.count) == (8, 6400, 1)
    assert read_cpu("EPYC 9374F NPS2 half").share == 0.5
    assert read_cpu("rented host, 30 threads").threads == 30
    assert read_cpu("dual-socket CPU (not named)").count == 2
    halos = read_cpu("2x Ryzen AI Max+ 395")
    assert (halos.sockets, halos.machines) == (1, 2)


@pytest.mark.parametrize(
    ("name", "cores", "dies", "channels", "mts"),
    [
        ("Threadripper PRO 7965WX", 24, 4, 8, 5200),
        ("Threadripper PRO 3955WX", 16, 2, 8, 3200),
        ("EPYC 9355", 32, 8, 12, 6400),
        ("EPYC 9175F", 16, 16, 12, 6400),
        ("EPYC 7532", 32, 8, 8, 3200),
        ("EPYC 7452", 32, 4, 8, 3200),
        ("Ryzen 9 7950X", 16, 2, 2, 5200),
        ("Xeon Gold 6454S", 32, 0, 8, 4800),
        ("Xeon 6980P", 128, 0, 12, 6400),
        ("Core i9-14900K", 24, 0, 2, 5600),
    ],
)
def test_figures_of_the_makers(name: str, cores: int, dies: int, channels: int, mts: int) -> None:
    """AMD's product pages (dies: L3 cache over 32 MiB) and Intel ARK."""
    model = find_cpu(name)
    assert model is not None
    assert (model.cores, model.dies, model.channels, model.mts) == (cores, dies, channels, mts)


@pytest.mark.parametrize(
    ("name", "vnni", "amx"),
    [
        ("Xeon Gold 6138", False, False), ("Xeon Gold 6248", True, False), ("Xeon Gold 6454S", True, True),
        ("EPYC 7763", False, False), ("EPYC 9355", True, False), ("i9-14900K", False, False),
        ("i9-11900K", True, False), ("Xeon 6780E", False, False),
        ("i9-10900X", True, False), ("Xeon w9-3495X", True, True),
    ],
)  # fmt: skip
def test_instruction_sets(name: str, vnni: bool, amx: bool) -> None:
    model = find_cpu(name)
    assert model is not None
    assert ("avx512_vnni" in model.isa, "amx_int8" in model.isa) == (vnni, amx)
