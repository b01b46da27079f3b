"""The command line of the engine process, in llama-server's spelling."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
LOAD_MODES = ("auto", "none", "mmap", "mlock", "mmap+mlock", "dio")


@dataclass(frozen=True, slots=True)
class Options:
    """How the engine process was told to run."""

    model: str
    alias: str
    context: int
    """Tokens of context; 0: what the model was trained for."""
    batch: int
    ubatch: int
    gpu_layers: int
    """Negative: all."""
    threads: int
    threads_batch: int
    flash_attention: str
    """`on`, `off` or `auto`."""
    type_k: str
    type_v: str
    load_mode: str
    devices: tuple[str, ...] | None
    """Names of ggml devices; `None`: every one there is; empty: none but the CPU."""
    tensor_split: tuple[float, ...]
    overrides: tuple[tuple[str, str], ...]
    """Tensor-name pattern and buffer-type name; the first match wins."""
    host: str
    port: int
    warmup: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # llama-server's words, which the parent knows how to explain.
        said = message.replace("unrecognized arguments:", "invalid argument:")
        sys.stderr.write(f"error: {said} (this engine takes a part of llama-server's options, see --help)\n")
        raise SystemExit(2)


def _whole(least: int, most: int = 2**31 - 1) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return value

    return convert


def _layers(text: str) -> int:
    return -1 if text == "all" else _whole(-1)(text)


def _devices(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(name for name in text.split(",") if name)


def _split(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(share) for share in text.replace("/", ",").split(","))
    except ValueError:
        shares = ()
    if not shares or min(shares) < 0 or sum(shares) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of shares such as 1,0")
    return shares


def _overrides(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.partition("=") for part in text.split(",") if part]
    if not pairs or not all(pattern and buffer_type for pattern, _, buffer_type in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of PATTERN=BUFFER-TYPE")
    return tuple((pattern, buffer_type) for pattern, _, buffer_type in pairs)


def parser() -> argparse.ArgumentParser:
    """The options that this engine knows, a part of llama-server's."""
    count, natural = _whole(1), _whole(0)
    made = _Parser(
        prog="python -m app.runtimes.embedded",
        allow_abbrev=False,
        description="Serve one model over HTTP like llama-server, with the llama.cpp inside llama-cpp-python.",
    )
    add = made.add_argument
    add("-m", "--model", required=True, metavar="FILE", help="the GGUF file (the first one of a split model)")
    add("-a", "--alias", default="", metavar="NAME", help="what the API calls the model")
    add("-c", "--ctx-size", type=natural, default=0, metavar="N", help="context in tokens (0: the model's)")
    add("-b", "--batch-size", type=count, default=2048, metavar="N", help="logical batch in tokens")
    add("-ub", "--ubatch-size", type=count, default=512, metavar="N", help="physical batch in tokens")
    add("-ngl", "--gpu-layers", "--n-gpu-layers", type=_layers, default=-1, metavar="N|all")
    add("-t", "--threads", type=count, default=len(os.sched_getaffinity(0)), metavar="N")
    add("-tb", "--threads-batch", type=count, default=0, metavar="N", help="threads for prompts (as -t)")
    add("-fa", "--flash-attn", choices=("on", "off", "auto"), default="auto")
    add("-ctk", "--cache-type-k", choices=KV_TYPES, default="f16", metavar="TYPE")
    add("-ctv", "--cache-type-v", choices=KV_TYPES, default="f16", metavar="TYPE")
    add("-lm", "--load-mode", choices=LOAD_MODES, default="auto", metavar="MODE")
    add("-np", "--parallel", type=count, default=1, metavar="1", help="sequences at once; only 1")
    add("-dev", "--device", type=_devices, default=None, metavar="A,B|none", help="devices to use, in order")
    add("-ts", "--tensor-split", type=_split, default=(), metavar="1,0")
    add("-ot", "--override-tensor", type=_overrides, action="extend", default=[], metavar="PATTERN=BUFFER,...")
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (this machine only)")
    add("--port", type=_whole(0, 65535), default=8080, metavar="N", help="port to listen on (0: any free one)")
    add("--warmup", action=argparse.BooleanOptionalAction, default=True, help="run the model once when loaded")
    return made


def parse(argv: Sequence[str]) -> Options:
    """Read the command line.

    Raises:
        SystemExit: with 2 after one line on stderr, where an option is unknown or makes no sense.
    """
    options = parser()
    given = options.parse_args(argv)
    if given.parallel != 1:
        options.error(f"-np {given.parallel} is not possible: the embedded engine runs one sequence at a time")
    return Options(
        model=given.model,
        alias=given.alias or os.path.basename(given.model),
        context=given.ctx_size,
        batch=max(given.batch_size, given.ubatch_size),
        ubatch=given.ubatch_size,
        gpu_layers=given.gpu_layers,
        threads=given.threads,
        threads_batch=given.threads_batch or given.threads,
        flash_attention=given.flash_attn,
        type_k=given.cache_type_k,
        type_v=given.cache_type_v,
        load_mode=given.load_mode,
        devices=given.device,
        tensor_split=given.tensor_split,
        overrides=tuple(given.override_tensor),
        host=given.host,
        port=given.port,
        warmup=given.warmup,
    )


def known_flags() -> frozenset[str]:
    """Every option that `parse` takes, dashes included."""
    return frozenset(flag for action in parser()._actions for flag in action.option_strings)
