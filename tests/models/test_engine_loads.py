"""llama.cpp takes the files of every architecture: it refuses a tensor that is missing, misnamed or misshapen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.errors import UsageError
from app.models.blueprints import ARCHITECTURES
from app.models.catalog import find_spec
from app.models.mechanisms import CompressionSpec, KdaSpec, MlaSpec, RecurrentSpec
from app.models.slices import write_slice
from app.models.spec import ModelSpec
from tests.models.files import TINY_VOCABULARY

MODELS = (
    "deepseek-v2-lite", "deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "dots.llm1", "ernie-4.5-21b-a3b",
    "gemma-3-270m", "gemma-4-26b-a4b", "glm-4.5-air", "glm-5.2", "glm-5.3-flash", "gpt-oss-20b", "granite-4.0-h-tiny",
    "grok-2", "hunyuan-a13b", "hy3", "kimi-k3", "kimi-linear-48b-a3b", "laguna-xs-2.1", "lfm2-8b-a1b", "ling-3.0-tiny",
    "ling-mini-2.0", "llama-3.1-8b", "llama-4-maverick", "mellum2-12b-a2.5b", "mimo-v2-flash", "minimax-m2",
    "minimax-m3", "ministral-3-14b", "mistral-small-4-119b", "mixtral-8x7b", "nemotron-3-super-120b", "olmoe-1b-7b",
    "phi-3.5-moe", "qwen2-57b-a14b", "qwen2.5-coder-14b", "qwen3-0.6b", "qwen3-30b-a3b", "qwen3-next-80b-a3b",
    "qwen3-omni-30b-a3b", "qwen3.5-35b-a3b", "qwen3.5-9b", "qwen3.8-flash-next", "smallthinker-21b-a3b",
    "step-3.5-flash", "trinity-mini",
)  # fmt: skip
AHEAD = ("deepseek-v3.2", "glm-4.5-air", "glm-5.2", "hy3", "ling-3.0-flash", "mimo-v2-flash", "step-3.5-flash")
WIDTH = 256
needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


def tiny(name: str, nextn: int = 0) -> ModelSpec:
    """A model of eight layers of its own kinds, narrow enough for a file of a few MB."""
    spec = find_spec(name)
    wide = spec.architecture == "qwen3vlmoe"  # its rotary sections need heads of 128
    mla = spec.mla and MlaSpec(64, 32 if spec.mla.rope else 0, 32, 32, 64 if spec.mla.q_lora else 0)
    key = mla.kv_lora + mla.rope if mla else 64 if spec.compression else 128 if wide else 32
    return replace(
        spec,
        quantization="Q8_0",
        layers=8,
        nextn=nextn,
        pattern=spec.pattern[:8],
        d_model=WIDTH,
        vocabulary=TINY_VOCABULARY,
        feed_forward=64 if spec.feed_forward else 0,
        heads=8,
        kv_heads=1 if spec.mla else min(2, spec.kv_heads) if spec.kv_heads < spec.heads else 8,
        key_length=key,
        value_length=64 if mla else 0 if spec.compression else key,
        window_heads=spec.window_heads and 16,
        window_kv_heads=spec.window_kv_heads and 4,
        window_key_length=spec.window_key_length and 64,
        experts=spec.experts and 8,
        experts_used=spec.experts and 2,
        expert_ff=spec.experts and 64,
        shared_ff=spec.shared_ff and 64 * spec.shared_experts,
        dense_lead=min(spec.dense_lead, 2),
        latent=spec.latent and 64,
        mla=mla,
        **mechanisms(spec),
    )


def mechanisms(spec: ModelSpec) -> dict[str, Any]:
    """Small ones of those that the model has."""
    # One of MiniMax M3's indexer heads belongs to each group of query heads.
    index_heads = 2 if spec.architecture == "minimax-m3" else 4
    inner = (512, 32, 2, 16) if spec.recurrent and spec.recurrent.inner else ()
    return {
        "recurrent": spec.recurrent and RecurrentSpec(spec.recurrent.conv_kernel, spec.recurrent.interval, *inner),
        "kda": spec.kda and KdaSpec(4, 32),
        "indexer": spec.indexer and replace(spec.indexer, index_heads=index_heads, index_length=64, top_k=16),
        "compression": spec.compression and CompressionSpec(64, 2, 64),
        "lookup": spec.lookup and replace(spec.lookup, table_rows=16_384, row_length=16),
    }


def test_every_architecture_is_tried() -> None:
    loadable = {name for name, blueprint in ARCHITECTURES.items() if blueprint.loadable}
    assert {find_spec(name).architecture for name in MODELS} | {"granitemoe"} == loadable


LOAD = """
import math, sys, llama_cpp
for path in sys.argv[1:]:
    model = llama_cpp.Llama(path, n_ctx=256, n_threads=1, verbose=False)
    model.eval(model.tokenize(b"Hello there, brave star", add_bos=False))
    row = llama_cpp.llama_get_logits_ith(model._ctx.ctx, -1)
    assert all(math.isfinite(row[index]) for index in range(model.n_vocab())), path
    model.close()
    print(path)
"""


@needs_engine
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_loads_and_runs_the_model(tmp_path: Path, name: str) -> None:
    loads(tiny(name), tmp_path / f"{name}.gguf")


@needs_engine
def test_llama_cpp_loads_an_architecture_without_a_preset(tmp_path: Path) -> None:
    spec = replace(tiny("qwen3-30b-a3b"), architecture="granitemoe", shared_experts=1, shared_ff=64)
    loads(spec, tmp_path / "granite.gguf")


@needs_engine
@pytest.mark.parametrize("name", AHEAD)
def test_llama_cpp_steps_over_next_token_layers(tmp_path: Path, name: str) -> None:
    loads(tiny(name, nextn=1), tmp_path / f"{name}.gguf")


def test_a_model_that_llama_cpp_does_not_know_is_not_sliced(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"llama\.cpp does not know the architecture inkling"):
        write_slice(tiny("inkling-small"), tmp_path / "slice.gguf")


@needs_engine
def test_llama_cpp_loads_a_slice_without_a_layer_that_sees_everything(tmp_path: Path) -> None:
    loads(replace(tiny("gemma-4-26b-a4b"), layers=2), tmp_path / "slice.gguf")


def loads(spec: ModelSpec, path: Path) -> None:
    """Write the model and let llama.cpp run it."""
    write_slice(spec, path)
    load(path)


def load(path: Path) -> None:
    """Let llama.cpp load and run a file in a process of its own."""
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == str(path), done.stderr[-3000:]
