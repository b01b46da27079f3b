"""Weights and caches of the rarer kinds of attention against llama.cpp's own answer, on true shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.solver.memory import kv_bytes, weight_bytes
from app.solver.model import KvType
from app.solver.plan import Parameters, Placement
from app.units import MIB
from tests.integration.test_fit_params import asked, sparse

MODELS = (
    "deepseek-v3.2", "deepseek-v4-flash", "glm-5.2", "glm-5.3-flash", "granite-4.0-h-small", "kimi-k3",
    "kimi-linear-48b-a3b", "laguna-xs-2.1", "ling-3.0-flash", "mellum2-12b-a2.5b", "mimo-v2-flash", "minimax-m3",
    "mistral-small-4-119b", "qwen3.8-flash-next", "smallthinker-21b-a3b", "step-3.5-flash", "trinity-mini",
)  # fmt: skip
"""Indexers, compressed rows, Kimi delta attention, windows with heads of their own, tables that are looked up."""
CHOICES: tuple[tuple[int, int, KvType], ...] = ((4096, 512, "f16"), (32768, 2048, "q8_0"))
SETTINGS = [
    Parameters(context, 1, ubatch, 2048, kv, kv, flash_attention=True, load_mode="none", threads=1, threads_batch=1)
    for context, ubatch, kv in CHOICES
]


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_cache_are_what_llama_cpp_reserves(tools: Path, tmp_path: Path, name: str) -> None:
    path, shape = sparse(name, tmp_path)
    placement = Placement.on("cpu", ("cpu",) * len(shape.layers))
    for parameters in SETTINGS:
        weights, cache, _ = asked(tools, path, parameters, "-dev", "none", "-ngl", "0")["Host"]
        assert weight_bytes(shape, placement)["cpu"] / MIB == pytest.approx(weights, rel=1e-3, abs=2)
        assert kv_bytes(shape, placement, parameters)["cpu"] / MIB == pytest.approx(cache, rel=0.01, abs=6)
