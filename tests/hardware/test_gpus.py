"""GPUs as people write them."""

from __future__ import annotations

import pytest

from app.hardware.gpus import find_gpu, read_gpus

WRITTEN = {
    "RTX 5090 32GB": [("GeForce RTX 5090", 1, 32)],
    "RTX5090": [("GeForce RTX 5090", 1, 32)],
    "2x RTX 3090 24GB": [("GeForce RTX 3090", 2, 24)],
    "2x3090": [("GeForce RTX 3090", 2, 24)],
    "2 RTX 3090": [("GeForce RTX 3090", 2, 24)],
    "RTX 3090 x2": [("GeForce RTX 3090", 2, 24)],
    "dual 3090": [("GeForce RTX 3090", 2, 24)],
    "five 3090s": [("GeForce RTX 3090", 5, 24)],
    "4x RTX 4090": [("GeForce RTX 4090", 4, 24)],
    "RTX 4090 48GB": [("GeForce RTX 4090", 1, 48)],
    "RTX 2080 Ti 22GB": [("GeForce RTX 2080 Ti", 1, 22)],
    "RTX 5090 32GB + RTX 4090 24GB": [("GeForce RTX 5090", 1, 32), ("GeForce RTX 4090", 1, 24)],
    "RTX 3090, RTX 3060 12GB": [("GeForce RTX 3090", 1, 24), ("GeForce RTX 3060 12GB", 1, 12)],
    "2x RTX 5090 + 4x RTX 3090 (owner list...)": [("GeForce RTX 5090", 2, 32), ("GeForce RTX 3090", 4, 24)],
    "Radeon 8060S iGPU (gfx1151)": [("Radeon 8060S", 1, None)],
    "R9700": [("Radeon AI PRO R9700", 1, 32)],
    "AMD Radeon AI Pro R9700": [("Radeon AI PRO R9700", 1, 32)],
    "2x R9700 AI Pro": [("Radeon AI PRO R9700", 2, 32)],
    "W7900": [("Radeon PRO W7900", 1, 48)],
    "7900xtx": [("Radeon RX 7900 XTX", 1, 24)],
    "AMD Radeon RX 7900 XTX (RADV NAVI31)": [("Radeon RX 7900 XTX", 1, 24)],
    "6800 XT": [("Radeon RX 6800 XT", 1, 16)],
    "MI50 32GB": [("Instinct MI50 32GB", 1, 32)],
    "NVIDIA GB10": [("GB10", 1, 128)],
    "RTX PRO 6000 Blackwell 96GB": [("RTX PRO 6000 Blackwell", 1, 96)],
    "RTX 6000 Pro": [("RTX PRO 6000 Blackwell", 1, 96)],
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition": [("RTX PRO 6000 Blackwell Max-Q", 1, 96)],
    "RTX 6000 Ada": [("RTX 6000 Ada", 1, 48)],
    "RTX 6000 96GB": [("RTX PRO 6000 Blackwell", 1, 96)],
    "A6000": [("RTX A6000", 1, 48)],
    "A100-SXM4-80GB": [("A100 SXM4 80GB", 1, 80)],
    "A100 80GB PCIe": [("A100 PCIe 80GB", 1, 80)],
    "A100 40GB": [("A100 PCIe 40GB", 1, 40)],
    "NVIDIA H100 80GB HBM3": [("H100 SXM5 80GB", 1, 80)],
    "NVIDIA GH200 480GB": [("GH200 96GB", 1, 96)],
    "Tesla V100-SXM2-16GB": [("V100 SXM2 16GB", 1, 16)],
    "3x P40": [("P40", 3, 24)],
    "GTX 1070 8GB": [("GeForce GTX 1070", 1, 8)],
    "1080 ti 11gb": [("GeForce GTX 1080 Ti", 1, 11)],
    "RTX 2070 SUPER": [("GeForce RTX 2070 SUPER", 1, 8)],
    "RTX 2070S": [("GeForce RTX 2070 SUPER", 1, 8)],
    "4070 Ti Super 16GB": [("GeForce RTX 4070 Ti SUPER", 1, 16)],
    "RTX 4060 Ti 16G": [("GeForce RTX 4060 Ti 16GB", 1, 16)],
    "RTX 5070 Laptop 8GB": [("GeForce RTX 5070 Laptop", 1, 8)],
    "NVIDIA GeForce RTX 4060 Laptop GPU": [("GeForce RTX 4060 Laptop", 1, 8)],
    "2060 mobile": [("GeForce RTX 2060 Laptop", 1, 6)],
    "5090M": [("GeForce RTX 5090 Laptop", 1, 24)],
    "RTX 2070 Super Max-Q": [("GeForce RTX 2070 SUPER Laptop", 1, 8)],
    "Arc Pro B70": [("Arc Pro B70", 1, 32)],
    "Intel(R) Arc(TM) B580 Graphics": [("Arc B580", 1, 12)],
    "Intel Arc 140V": [("Arc 140V", 1, None)],
    "Apple M4 Pro": [("Apple M4 Pro", 1, None)],
    "M4 Max (32-core GPU)": [("Apple M4 Max 32-core", 1, None)],
    "M4 Max 40-core GPU": [("Apple M4 Max", 1, None)],
    "RTX 5090 32GB eGPU via OCuLink": [("GeForce RTX 5090", 1, 32)],
    "": [],
    "none": [],
}


@pytest.mark.parametrize("text", WRITTEN)
def test_what_is_written_is_found(text: str) -> None:
    words = read_gpus(text)
    assert words.unknown == ()
    assert [(named.model.name, named.count, named.vram_gib) for named in words.found] == WRITTEN[text]


@pytest.mark.parametrize(
    "text",
    ["RTX 5090 Super", "RTX 5091", "RX 7990", "RTX 6000", "4 GPUs", "AMD gfx1030", "9900", "RTX 4090 RTX 3090", "5000"],
)
def test_what_is_not_known_or_not_clear_is_not_guessed(text: str) -> None:
    words = read_gpus(text)
    assert words.found == ()
    assert len(words.unknown) == 1


def test_the_nearest_names_are_offered() -> None:
    assert "GeForce RTX 5090" in read_gpus("RTX 5091").unknown[0].nearest
    assert "Radeon PRO W7900" in read_gpus("W7901").unknown[0].nearest
    assert read_gpus("a banana").unknown[0].nearest == ()


def test_one_unknown_among_known_ones_is_told() -> None:
    words = read_gpus("RTX 3090 + RTX 9999")
    assert [named.model.name for named in words.found] == ["GeForce RTX 3090"]
    assert [one.text for one in words.unknown] == ["RTX 9999"]


def test_a_size_that_is_taken_for_granted_is_told() -> None:
    assert read_gpus("RTX 3080").found[0].assumed == "10 GB is assumed of GeForce RTX 3080"
    assert read_gpus("RTX 3080 12GB").found[0].assumed == ""
    assert read_gpus("RTX 3080", vram_gib=12).found[0].model.name == "GeForce RTX 3080 12GB"


def test_the_processor_says_which_gpu_is_inside() -> None:
    assert read_gpus("iGPU").found == ()
    assert read_gpus("iGPU", own="Radeon 780M").found[0].model.name == "Radeon 780M"
    both = "Radeon 840M / 860M Graphics"
    assert read_gpus(both).found == ()
    assert read_gpus(both, own="Radeon 860M").found[0].model.name == "Radeon 860M"


def test_figures_of_the_sources() -> None:
    """AMD, NVIDIA and Apple publish these; Strix Halo: 256 bits of LPDDR5X-8000, 40 CUs x 2.9 GHz x 512 FLOP."""
    for name, gbps, tflops in [
        ("Radeon 8060S", 256.0, 59.4), ("GB10", 273.0, 118.8), ("RTX 5090", 1792.0, 209.5), ("RTX 3090", 936.0, 71.2),
        ("Apple M3 Ultra", 819.2, 28.3), ("MI300X", 5300.0, 1307.4), ("RTX 4090 Laptop", 576.0, 66.0),
    ]:  # fmt: skip
        found = find_gpu(name)
        assert found is not None
        assert (found.bandwidth_gbps, found.fp16_tflops) == (gbps, tflops)
