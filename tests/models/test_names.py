"""A model is found by whatever people call it, and nothing else is taken for one."""

from __future__ import annotations

import csv

import pytest

from app.models.catalog import model_names, preset_names
from app.models.names import find_model_name, is_path, split_quantization
from tests.models.files import MODELS_CSV

BENCH_ROWS = MODELS_CSV.with_name("bench_rows.csv")
UNRESOLVED: dict[str, str] = {}
"""Names of measured rows that stand for no model here, and why."""
WRITTEN = {
    "qwen3-30b-a3b": ("qwen3-30b-a3b", None),
    "Qwen3 30B A3B": ("qwen3-30b-a3b", None),
    "QWEN3-30B-A3B-INSTRUCT-2507": ("qwen3-30b-a3b", None),
    "unsloth/Qwen3-30B-A3B-GGUF:UD-Q4_K_XL": ("qwen3-30b-a3b", "UD-Q4_K_XL"),
    "hf.co/unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF:Q4_K_M": ("qwen3-30b-a3b", "Q4_K_M"),
    "Qwen/Qwen3-30B-A3B-FP8": ("qwen3-30b-a3b", "FP8"),
    "qwen3:30b-a3b": ("qwen3-30b-a3b", None),
    "qwen3-30b": ("qwen3-30b-a3b", None),
    "Qwen3-30B-A3B-IQ4_K_R4 17.57GiB": ("qwen3-30b-a3b", "IQ4_K_R4 17.57GiB"),
    "Qwen3-Coder-30B-A3B-Instruct": ("qwen3-coder-30b-a3b", None),
    "qwen3-coder:30b": ("qwen3-coder-30b-a3b", None),
    "Qwen3-235B-A22B-Thinking-2507-mix-IQ3_K": ("qwen3-235b-a22b", "mix-IQ3_K"),
    "Qwen3-235B-A22B-Instruct-2507-UD-Q4_K_XL-00001-of-00003.gguf": ("qwen3-235b-a22b", "UD-Q4_K_XL"),
    "some-body_Qwen3-235B-A22B-abliterated-Q4_K_M": ("qwen3-235b-a22b", "Q4_K_M"),
    "gpt-oss:120b": ("gpt-oss-120b", None),
    "gpt oss 20b": ("gpt-oss-20b", None),
    "gptoss-20b-mxfp4": ("gpt-oss-20b", "mxfp4"),
    "openai/gpt-oss-120b": ("gpt-oss-120b", None),
    "ggml-org/gpt-oss-120b-GGUF": ("gpt-oss-120b", None),
    "gpt-oss-120b (F16)": ("gpt-oss-120b", "F16"),
    "GLM 4.5 Air": ("glm-4.5-air", None),
    "glm-4.5-air:q4_k_m": ("glm-4.5-air", "q4_k_m"),
    "zai-org/GLM-4.5-Air-FP8": ("glm-4.5-air", "FP8"),
    "GLM-4.5": ("glm-4.5", None),
    "GLM-4.6V": ("glm-4.5v", None),
    "deepseek-ai/DeepSeek-R1-0528": ("deepseek-r1", None),
    "deepseek-r1:671b": ("deepseek-r1", None),
    "DeepSeek-V3.1-Terminus-UD-Q2_K_XL": ("deepseek-v3", "UD-Q2_K_XL"),
    "DeepSeek-V3.2-Exp": ("deepseek-v3.2", None),
    "DeepSeek-Coder-V2-Lite-Instruct": ("deepseek-v2-lite", None),
    "DeepSeek-R1-0528-Qwen3-8B": ("qwen3-8b", None),
    "Kimi-K2-Instruct-0905": ("kimi-k2", None),
    "moonshotai/Kimi-K2.5 (RAWINT4)": ("kimi-k2.5", "RAWINT4"),
    "Kimi-K2-Thinking AMXINT4": ("kimi-k2-thinking", "AMXINT4"),
    "Llama-4-Scout-17B-16E-Instruct": ("llama-4-scout", None),
    "llama4:scout": ("llama-4-scout", None),
    "Llama-3.3-70B-Instruct-Q6_K": ("llama-3.1-70b", "Q6_K"),
    "mixtral:8x7b": ("mixtral-8x7b", None),
    "Mixtral-8x7B-Instruct-v0.1.Q4_K_M.gguf": ("mixtral-8x7b", "Q4_K_M"),
    "google/gemma-4-26B-A4B-it": ("gemma-4-26b-a4b", None),
    "gemma4-26b": ("gemma-4-26b-a4b", None),
    "NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4": ("nemotron-3-super-120b", "NVFP4"),
    "MiniMax-M2.5-MXFP4": ("minimax-m2.5", "MXFP4"),
    "MiniMaxAI/MiniMax-M2": ("minimax-m2", None),
    "Qwen3-Next-80B-A3B-Thinking 4-bit": ("qwen3-next-80b-a3b", "4-bit"),
    "Step-3.5-Flash-IQ4_XS": ("step-3.5-flash", "IQ4_XS"),
    "dots.llm1.inst": ("dots.llm1", None),
    "Ling 1T": ("ling-1t", None),
    "qwen3-30b-a3b:latest": ("qwen3-30b-a3b", None),
    "qwen3-30b-a3b:ZIP9": ("qwen3-30b-a3b", "ZIP9"),
    "SmallThinker-21BA3B-Instruct": ("smallthinker-21b-a3b", None),
}
NOT_OURS = (
    "", "7b", "Q4_K_M", "gguf", "DeepSeek-R1-Distill-Qwen-32B", "Qwen3-Embedding-8B", "Qwen3-Reranker-4B",
    "GLM-4.6V-Flash", "Qwen3-VL-8B", "gpt-oss-21b", "gpt-oss-120b-eagle3", "Qwen3-Coder-30B-A3B-draft-0.6b",
    "mmproj-GLM-4.5V", "Kimi-K9", "llama-4-behemoth", "qwen3-72b", "mixtral-8x3b",
)  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN)
def test_a_name_is_found_as_people_write_it(written: str) -> None:
    assert find_model_name(written) == WRITTEN[written]


@pytest.mark.parametrize("written", NOT_OURS)
def test_another_model_is_not_taken_for_one_of_ours(written: str) -> None:
    assert find_model_name(written) is None


def test_every_measured_model_is_found() -> None:
    if not BENCH_ROWS.exists():
        pytest.skip("the table of measurements is not beside this checkout")
    with BENCH_ROWS.open(newline="") as file:
        names = {row["model"] for row in csv.DictReader(file)}
    assert {name for name in names if find_model_name(name) is None} == set(UNRESOLVED)


def test_every_model_of_the_table_is_found_by_its_id_and_its_repository() -> None:
    if not MODELS_CSV.exists():
        pytest.skip("the table of published models is not beside this checkout")
    with MODELS_CSV.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        name = row["id"].removeprefix("ft-").removesuffix("-ud").replace("-ud-", ":ud-")
        assert find_model_name(name), row["id"]
        assert find_model_name(row["hf_repo"]), row["hf_repo"]


@pytest.mark.parametrize("name", model_names())
def test_every_name_of_a_preset_leads_to_it(name: str) -> None:
    for written in preset_names()[name]:
        found = find_model_name(written)
        assert found == (name, found and found[1]), written


def test_words_on_the_quantization_are_kept_as_they_stand() -> None:
    assert split_quantization("Laguna-S-2.1 Q6_K (107 GB)") == ("Laguna-S-2.1", "Q6_K (107 GB)")
    assert split_quantization("GLM-4.5-Air") == ("GLM-4.5-Air", None)
    assert split_quantization("AD-4.27bpw") == ("AD-4.27bpw", None)


@pytest.mark.parametrize(("words", "path"), [
    ("gpt-oss-20b", False), ("openai/gpt-oss-20b", False), ("hf.co/openai/gpt-oss-20b", False),
    ("./gpt-oss-20b", True), ("/models/gpt-oss-20b", True), ("~/gpt-oss-20b", True), ("gpt-oss-20b.gguf", True),
    ("models/gpt-oss-20b.gguf", True),
])  # fmt: skip
def test_a_path_is_told_from_a_name(words: str, path: bool) -> None:
    assert is_path(words) == path
