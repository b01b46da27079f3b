"""Times KTransformers' real CPU kernels on random weights. A script for the Python that has kt-kernel.

It imports nothing of ours, and neither torch nor numpy:

    python kt_kernel_child.py METHOD EXPERTS USED HIDDEN INNER THREADS PROMPT REPETITIONS

Prints one JSON object per test with llama-bench's names; the times are of one layer.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import random
import sys
import time
from pathlib import Path
from types import ModuleType

CLASSES = {"AMXINT8": "AMXInt8_MOE", "AMXINT4": "AMXInt4_MOE", "BF16": "AMXBF16_MOE"}
"""`--kt-method` to the class of the extension that loads plain BF16 weights."""
DECODE_TOKENS = 32
ROWS = 32
"""The kernels take batches whose longest is a multiple of this."""


def extension() -> tuple[ModuleType, str]:
    """kt-kernel's extension for this CPU, and the name of its variant.

    Raises:
        ImportError: kt-kernel is not installed here, or none of its variants runs on this CPU.
    """
    spec = importlib.util.find_spec("kt_kernel")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("kt-kernel is not installed")
    # The package itself imports torch; the part that picks the variant does not.
    path = Path(next(iter(spec.submodule_search_locations))) / "_cpu_detect.py"
    detect = importlib.util.spec_from_file_location("_cpu_detect", path)
    if detect is None or detect.loader is None:
        raise ImportError(f"{path} is missing: 0.7.2 is the version that is known")
    module = importlib.util.module_from_spec(detect)
    detect.loader.exec_module(module)
    found, variant = module.initialize()
    return found, str(variant)


class Layer:
    """One layer of routed experts in the kernel's own memory."""

    def __init__(self, kernels: ModuleType, method: str, experts: int, used: int, hidden: int, inner: int, threads: int,
                 longest: int) -> None:  # fmt: skip
        self._experts, self._used = experts, used
        self._draw = random.Random(0)
        self._cpu = kernels.CPUInfer(threads)
        mask = (ctypes.c_uint8 * experts)()
        self._kept: list[object] = [mask]
        config = kernels.moe.MOEConfig(experts, used, hidden, inner, ctypes.addressof(mask))
        config.max_len = longest
        config.pool = self._cpu.backend_
        for name in ("gate_proj", "up_proj", "down_proj"):
            weights = _bf16(experts * hidden * inner)
            self._kept.append(weights)
            setattr(config, name, ctypes.addressof(weights))
        self._moe = getattr(kernels.moe, CLASSES[method])(config)
        order = (ctypes.c_int64 * experts)(*range(experts))
        self._cpu.submit(self._moe.load_weights_task(ctypes.addressof(order)))
        self._cpu.sync()
        self._kept += [order, config]
        self._input, self._output = _bf16(longest * hidden), _bf16(longest * hidden)
        self._ids = (ctypes.c_int64 * (longest * used))()
        self._shares = (ctypes.c_float * (longest * used))(*([1.0 / used] * (longest * used)))
        self._count = ctypes.c_int(1)

    def compute(self, tokens: int) -> None:
        """One pass of so many tokens, each through experts of its own choice."""
        for token in range(tokens):
            chosen = self._draw.sample(range(self._experts), self._used)
            for place, expert in enumerate(chosen, start=token * self._used):
                self._ids[place] = expert
        self._count.value = tokens
        began = time.perf_counter_ns()
        at = ctypes.addressof
        task = self._moe.forward_task(
            at(self._count), self._used, at(self._ids), at(self._shares), at(self._input), at(self._output), False
        )
        self._cpu.submit(task)
        self._cpu.sync()
        self.took_ns = time.perf_counter_ns() - began


def _bf16(count: int) -> ctypes.Array[ctypes.c_uint16]:
    """Random numbers of the size of weights: a pattern of 64 Ki values over and over."""
    draw = random.Random(1)
    pattern = b"".join(
        (((draw.getrandbits(1) << 15) | (draw.randrange(118, 123) << 7) | draw.getrandbits(7)).to_bytes(2, "little"))
        for _ in range(1 << 16)
    )
    memory = (ctypes.c_uint16 * count)()
    size = ctypes.sizeof(memory)
    view = memoryview(memory).cast("B")
    for start in range(0, size, len(pattern)):
        view[start : start + len(pattern)] = pattern[: size - start]
    return memory


def main() -> int:
    """Time single tokens and one prompt, print both."""
    method, *numbers = sys.argv[1:]
    experts, used, hidden, inner, threads, prompt, repetitions = map(int, numbers)
    try:
        kernels, variant = extension()
        layer = Layer(kernels, method, experts, used, hidden, inner, threads, -(-prompt // ROWS) * ROWS)
    except (ImportError, RuntimeError, AttributeError, TypeError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for tokens, steps in ((1, DECODE_TOKENS), (prompt, 1)):
        samples = []
        for _ in range(repetitions):
            took = 0
            for _ in range(steps):
                layer.compute(tokens)
                took += layer.took_ns
            samples.append(took)
        names = {"n_prompt": 0 if tokens == 1 else tokens, "n_gen": steps if tokens == 1 else 0}
        print(json.dumps(names | {"n_depth": 0, "samples_ns": samples, "variant": variant}), flush=True)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the kernel's threads spin for a while, and its destructors may wait for them
