"""llama.cpp takes the files of every architecture: it refuses a tensor that is missing, misnamed or misshapen."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.models.blueprints import ARCHITECTURES
from app.models.catalog import find_spec
from app.models.slices import write_slice
from app.models.spec import MlaSpec, ModelSpec, RecurrentSpec
from tests.models.files import TINY_VOCABULARY

MODELS = (
    "deepseek-v2-lite", "deepseek-v3", "dots.llm1", "ernie-4.5-21b-a3b", "gemma-3-270m", "gemma-4-26b-a4b",
    "glm-4.5-air", "gpt-oss-20b", "hunyuan-a13b", "lfm2-8b-a1b", "ling-mini-2.0", "llama-3.1-8b", "llama-4-maverick",
    "minimax-m2", "mixtral-8x7b", "nemotron-3-super-120b", "olmoe-1b-7b", "qwen2.5-coder-14b", "qwen3-0.6b",
    "qwen3-30b-a3b", "qwen3-next-80b-a3b", "qwen3.5-35b-a3b", "qwen3.5-9b",
)  # fmt: skip
WIDTH = 256
needs_engine = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


def tiny(name: str) -> ModelSpec:
    """A model of eight layers of its own kinds, narrow enough for a file of a few MB."""
    spec = find_spec(name)
    heads = 8
    kv_heads = 1 if spec.mla else min(2, spec.kv_heads) if spec.kv_heads < spec.heads else heads
    mla = spec.mla and MlaSpec(64, 32, 32, 32, 64 if spec.mla.q_lora else 0)
    state = spec.recurrent and RecurrentSpec(
        spec.recurrent.conv_kernel,
        spec.recurrent.interval,
        *((256, 32, 2, 8) if spec.recurrent.inner else ()),
    )
    return replace(
        spec,
        quantization="Q8_0",
        layers=8,
        nextn=0,
        pattern=spec.pattern[:8],
        d_model=WIDTH,
        vocabulary=TINY_VOCABULARY,
        feed_forward=64 if spec.feed_forward else 0,
        heads=heads,
        kv_heads=kv_heads,
        key_length=96 if mla else 32,
        value_length=64 if mla else 32,
        window_kv_heads=spec.window_kv_heads and 4,
        window_key_length=spec.window_key_length and 64,
        experts=spec.experts and 8,
        experts_used=spec.experts and 2,
        expert_ff=spec.experts and 64,
        shared_ff=spec.shared_ff and 64 * spec.shared_experts,
        latent=spec.latent and 64,
        mla=mla,
        recurrent=state,
    )


def test_every_architecture_is_tried() -> None:
    assert {find_spec(name).architecture for name in MODELS} == set(ARCHITECTURES)


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
def test_llama_cpp_loads_a_slice_without_a_layer_that_sees_everything(tmp_path: Path) -> None:
    loads(replace(tiny("gemma-4-26b-a4b"), layers=2), tmp_path / "slice.gguf")


def loads(spec: ModelSpec, path: Path) -> None:
    """Write the model and let llama.cpp run it in a process of its own."""
    write_slice(spec, path)
    done = subprocess.run([sys.executable, "-c", LOAD, path], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == str(path), done.stderr[-3000:]
