"""Timing without a server: `python -m app.runtimes.embedded.bench MODEL-OPTIONS --prompts 512 --generated 32`.

Prints one JSON object per test with llama-bench's names, so that one reader serves both.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import sys
import time
from collections.abc import Sequence

from app.runtimes.embedded.bindings import LogRouter, llama
from app.runtimes.embedded.loading import Loaded, LoadError, load
from app.runtimes.embedded.options import parse


def main(argv: Sequence[str] | None = None) -> int:
    """Load the model, run every test, print each when it is done."""
    own = argparse.ArgumentParser(add_help=False)
    for name in ("--prompts", "--generated", "--depths"):
        own.add_argument(name, type=_numbers, default=())
    own.add_argument("--repetitions", type=int, default=4)
    tests, rest = own.parse_known_args(sys.argv[1:] if argv is None else argv)
    try:
        log = LogRouter(quiet=True)
        llama().llama_backend_init()
        loaded = load(parse(rest), log, lambda share: None)
    except (LoadError, ImportError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    timed = _Timed(loaded)
    for depth in tests.depths or (0,):
        for prompt, generated in [(n, 0) for n in tests.prompts] + [(0, n) for n in tests.generated]:
            samples = [timed.sample(prompt, generated, depth) for _ in range(tests.repetitions)]
            row = {"n_prompt": prompt, "n_gen": generated, "n_depth": depth, "samples_ns": samples}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
    return 0


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


class _Timed:
    """Decodes random tokens, as llama-bench does: routing is then near uniform."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._memory = llama().llama_get_memory(loaded.context)
        self._draw = random.Random(0)
        self._count = llama().llama_vocab_n_tokens(loaded.vocabulary)
        self._held = 0

    def sample(self, prompt: int, generated: int, depth: int) -> int:
        """Nanoseconds of one prompt, or of so many single tokens, after `depth` tokens."""
        self._fill(depth)
        llama().llama_synchronize(self._loaded.context)
        began = time.perf_counter_ns()
        if prompt:
            self._feed(prompt)
        for _ in range(generated):
            self._decode(1)
            llama().llama_synchronize(self._loaded.context)
        llama().llama_synchronize(self._loaded.context)
        return time.perf_counter_ns() - began

    def _fill(self, depth: int) -> None:
        """Back to exactly `depth` tokens; a recurrent state can only be filled again from the start."""
        if self._held < depth or not llama().llama_memory_seq_rm(self._memory, 0, depth, -1):
            llama().llama_memory_clear(self._memory, False)
            self._held = 0
            self._feed(depth)
        self._held = depth

    def _feed(self, tokens: int) -> None:
        while tokens > 0:
            step = min(tokens, self._loaded.ubatch)
            self._decode(step)
            tokens -= step

    def _decode(self, tokens: int) -> None:
        batch = (ctypes.c_int32 * tokens)(*(self._draw.randrange(self._count) for _ in range(tokens)))
        if code := llama().llama_decode(self._loaded.context, llama().llama_batch_get_one(batch, tokens)):
            raise RuntimeError(f"llama_decode returned {code}")
        self._held += tokens


if __name__ == "__main__":
    sys.exit(main())
