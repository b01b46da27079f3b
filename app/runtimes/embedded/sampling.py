"""How the next token is chosen: llama.cpp's samplers in llama-server's order and with its defaults."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from app.runtimes.embedded.bindings import llama
from app.runtimes.embedded.vocabulary import Vocabulary

RANDOM_SEED = 0xFFFFFFFF
"""`LLAMA_DEFAULT_SEED` of llama.h: take another seed each time."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The sampling parameters of one request; the defaults are llama-server's."""

    temperature: float = 0.8
    """0 or less: always the most likely token."""
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    seed: int = RANDOM_SEED
    ignore_eos: bool = False


@contextmanager
def sampler(sampling: Sampling, vocabulary: Vocabulary) -> Iterator[int]:
    """A llama.cpp sampler chain, freed at the end."""
    bindings = llama()
    chain: int = bindings.llama_sampler_chain_init(bindings.llama_sampler_chain_default_params())
    try:
        for part in _parts(sampling, vocabulary):
            bindings.llama_sampler_chain_add(chain, part)
        yield chain
    finally:
        bindings.llama_sampler_free(chain)


def _parts(sampling: Sampling, vocabulary: Vocabulary) -> Iterator[int]:
    bindings = llama()
    if sampling.ignore_eos and (ends := vocabulary.end_tokens):
        biases = (bindings.llama_logit_bias * len(ends))(
            *(bindings.llama_logit_bias(ctypes.c_int32(token), float("-inf")) for token in ends)
        )
        yield bindings.llama_sampler_init_logit_bias(vocabulary.size, len(ends), biases)
    if sampling.temperature <= 0:
        yield bindings.llama_sampler_init_greedy()
        return
    yield bindings.llama_sampler_init_top_k(sampling.top_k)
    yield bindings.llama_sampler_init_top_p(sampling.top_p, 0)
    yield bindings.llama_sampler_init_min_p(sampling.min_p, 0)
    yield bindings.llama_sampler_init_temp(sampling.temperature)
    yield bindings.llama_sampler_init_dist(sampling.seed)
