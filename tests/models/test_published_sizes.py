"""The bytes that a quantization makes of a model's shapes are those of the files that are published."""

from __future__ import annotations

import csv

import pytest

from app.models.catalog import find_spec, model_names
from app.models.layout import planned_header
from app.models.quantization import MIXTURES
from app.units import GIB
from tests.models.files import MODELS_CSV

SIZES_CSV = MODELS_CSV.with_name("gguf_sizes.csv")
BENCHED = {
    "deepseek-r1:Q4_K_M": 376.65, "deepseek-v2-lite:Q4_K_M": 9.65, "gemma-4-26b-a4b:Q4_K_M": 15.63,
    "glm-4.5-air:Q4_K_S": 62.27, "gpt-oss-120b:MXFP4": 59.02, "gpt-oss-20b:MXFP4": 11.27,
    "hunyuan-a13b:Q4_K_M": 45.43, "lfm2-8b-a1b:Q4_0": 4.41, "llama-3.1-70b:Q4_K_M": 39.59,
    "llama-4-scout:Q3_K_M": 48.19, "mixtral-8x7b:Q4_K_M": 26.49, "qwen3-235b-a22b:IQ4_XS": 116.86,
    "qwen3-235b-a22b:Q2_K": 79.8, "qwen3-235b-a22b:Q8_0": 232.769, "qwen3-30b-a3b:Q4_0": 16.18,
    "qwen3-30b-a3b:Q5_K_M": 20.24, "qwen3-32b:Q6_K": 25.03, "qwen3.5-35b-a3b:Q8_0": 34.36,
    "qwen3.6-27b:Q4_K_S": 14.49,
}  # fmt: skip
"""GiB that llama-bench reports of published files, which llama-quantize made without choices of the publisher's."""
OWN_MIXTURES = {
    # With a MTP layer, which the presets of these models leave out; the last is that layer alone.
    "qwen3.5-35b-a3b:Q4_0:19.4", "qwen3.6-27b:Q4_K_M:15.92", "qwen3.6-27b:Q6_K:21.3",
    "nemotron-3.5-lightning-30b-a3b:Q4_0:1.0765",
    # The experts stay MXFP4 in a file that is called F16; Q6_K is the label of a UD-Q6_K_XL.
    "gpt-oss-120b:F16:60.87", "gpt-oss-20b:F16:12.83", "hunyuan-a13b:Q6_K:65.65",
    # Named by `general.file_type`, made with types of the publisher's choice: their bits per weight are those of no
    # plain mixture, and a plain file of the same model and name is met where the table has one.
    "gemma-4-26b-a4b:Q3_K_M:11.84", "gemma-4-26b-a4b:Q5_K_M:19.75", "glm-4.5-air:Q2_K:43.49",
    "glm-4.5-air:Q3_K_M:51.01", "glm-4.7-flash:Q2_K:10.63", "llama-4-scout:Q2_K:39.65",
    "minimax-m2.5:IQ4_XS:100.96", "minimax-m2.5:Q3_K_M:94.93", "minimax-m2.5:Q5_K_M:157.23",
    "nemotron-3-super-120b:Q5_K_M:99.95", "nemotron-3.5-lightning-30b-a3b:Q4_0:17.6002",
    "qwen3-next-80b-a3b:Q4_K_M:46.2", "qwen3.5-122b-a10b:IQ4_XS:56.08", "qwen3.5-122b-a10b:Q3_K_M:53.05",
    "qwen3.5-122b-a10b:Q4_K_M:71.73", "qwen3.5-35b-a3b:IQ4_XS:16.5", "qwen3.5-35b-a3b:Q2_K:11.76",
    "qwen3.5-35b-a3b:Q5_K_M:24.45", "qwen3.5-35b-a3b:Q5_K_M:24.76", "qwen3.5-397b-a17b:Q6_K:319.21",
    "qwen3.6-27b:Q4_K_M:15.94", "qwen3.6-35b-a3b:IQ4_XS:16.95", "qwen3.6-35b-a3b:Q4_K_M:22.28",
    "glm-5.1:Q4_K_M:435.19", "laguna-s-2.1:Q6_K:99.6515",
}  # fmt: skip


def gib(name: str) -> float:
    return sum(tensor.bytes for tensor in planned_header(find_spec(name)).tensors) / GIB


@pytest.mark.parametrize("name", BENCHED)
def test_sizes_are_those_that_llama_bench_reports(name: str) -> None:
    assert gib(name) == pytest.approx(BENCHED[name], rel=2e-3)


def stated() -> list[tuple[str, float]]:
    """Rows of the table whose name is that of a model here and of a plain mixture, and whose size is not rounded."""
    if not SIZES_CSV.exists():
        pytest.skip("the table of published files is not beside this checkout")
    with SIZES_CSV.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [(f"{row['model_id']}:{row['quant'].replace(' MoE', '_MOE')}", row) for row in rows]
    return [
        (name, float(row["size_gib"]))
        for name, row in names
        if row["model_id"] in model_names() and name.partition(":")[2] in MIXTURES and "rounded" not in row["notes"]
    ]


def test_every_plain_file_of_the_table_is_met_within_two_percent() -> None:
    rows = stated()
    off = {f"{name}:{size:g}": gib(name) / size - 1 for name, size in rows}
    assert {name for name, share in off.items() if abs(share) > 0.02} == OWN_MIXTURES
    assert len(off) - len(OWN_MIXTURES) > 50
