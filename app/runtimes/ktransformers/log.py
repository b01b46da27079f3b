"""What SGLang with kt-kernel writes while it loads and works, as numbers. Pure.

Formats: sglang-kt 0.7.2 (`srt/managers/scheduler_metrics_mixin.py`, `srt/layers/moe/kt_ep_wrapper.py`,
`srt/model_executor/model_runner.py`). Builds differ in the order of what follows the queue's length, so every figure is
looked for by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_FIGURE = re.compile(r"(?:^|, )(?:\[\d+\], )?([#\w][\w\s#()/.-]*?): ([^,\s]+)")
_LAYER = re.compile(r"KT GPU experts: layer (\d+) \(MoE\) has (\d+) GPU experts")
_MASKS = re.compile(r"Generated KT GPU experts masks using '([\w-]+)'")
_WEIGHTS = re.compile(r"Load weight end\..*?mem usage=([\d.]+) GB")
_CACHE = re.compile(r"KV Cache is allocated\..*?#tokens: (\d+)")
_READY = "The server is fired up and ready to roll!"
_UNBOUND = re.compile(r"set_mempolicy: (.+)")
_NO_NODE = re.compile(r"NUMA node (\d+) not found")
_NO_CORE = re.compile(r"Core \d+ inside NUMA node (\d+) not found")
GB = 1 << 30
"""SGLang's `GB` are 2^30 bytes."""


@dataclass(frozen=True, slots=True)
class DecodeLine:
    """A `Decode batch` line: every 40 passes unless told otherwise."""

    running: int
    tokens: int
    """In the KV cache."""
    usage: float | None
    """Share of the cache that is taken."""
    cuda_graph: bool | None
    tokens_per_s: float
    """Of all sequences; too low in the first line after an idle time."""
    queued: int


@dataclass(frozen=True, slots=True)
class PrefillLine:
    """A `Prefill batch` line: a chunk of a prompt, or several prompts."""

    sequences: int
    new_tokens: int
    cached_tokens: int
    running: int
    queued: int
    tokens_per_s: float | None
    """Of the batch before this one over the time between the lines: nothing for the first prompt, and wrong for single
    ones, so that speeds are better taken from the counters."""


@dataclass(slots=True)
class KtStart:
    """What a start has said so far."""

    gpu_experts: dict[int, int] = field(default_factory=dict)
    """Layer -> its experts on the GPU."""
    strategy: str | None = None
    """How they were chosen; `None`: kt-kernel has not taken part."""
    weight_bytes: int | None = None
    """On one GPU."""
    cache_tokens: int | None = None
    ready: bool = False
    unbound: str = ""
    """Why memory was not bound to its node, in the system's words."""
    missing_nodes: set[int] = field(default_factory=set)
    crowded_nodes: set[int] = field(default_factory=set)
    """Nodes whose pools have more threads than cores."""

    @property
    def is_inactive(self) -> bool:
        """Whether the server works without kt-kernel: ready, and not a word of it."""
        return self.ready and not self.gpu_experts and self.strategy is None


def parse_decode(line: str) -> DecodeLine | None:
    """The figures of a decode line; `None`: it is another line."""
    found = _figures(line, "Decode batch")
    rate = _number(found.get("gen throughput (token/s)")) if found else None
    if found is None or rate is None:
        return None
    usage = found.get("token usage", found.get("full token usage"))
    graph = found.get("cuda graph")
    return DecodeLine(
        running=_count(found, "#running-req"),
        tokens=_count(found, "#token") or _count(found, "#full token"),
        usage=_number(usage),
        cuda_graph=None if graph is None else graph == "True",
        tokens_per_s=rate,
        queued=_count(found, "#queue-req"),
    )


def parse_prefill(line: str) -> PrefillLine | None:
    """The figures of a prefill line; `None`: it is another line."""
    found = _figures(line, "Prefill batch")
    if found is None or "#new-token" not in found:
        return None
    rate = _number(found.get("input throughput (token/s)"))
    return PrefillLine(
        sequences=_count(found, "#new-seq"),
        new_tokens=_count(found, "#new-token"),
        cached_tokens=_count(found, "#cached-token"),
        running=_count(found, "#running-req"),
        queued=_count(found, "#queue-req"),
        tokens_per_s=rate or None,
    )


def parse_start(lines: Iterable[str], start: KtStart | None = None) -> KtStart:
    """Take in lines of a start, in their order.

    Args:
        lines: of the server's output.
        start: what lines before them said; it is added to.
    """
    found = start or KtStart()
    for line in lines:
        if match := _LAYER.search(line):
            found.gpu_experts[int(match[1])] = int(match[2])
        elif match := _MASKS.search(line):
            found.strategy = match[1]
        elif match := _WEIGHTS.search(line):
            found.weight_bytes = round(float(match[1]) * GB)
        elif match := _CACHE.search(line):
            found.cache_tokens = int(match[1])
        elif match := _UNBOUND.search(line):
            found.unbound = match[1].strip()
        elif match := _NO_CORE.search(line):
            found.crowded_nodes.add(int(match[1]))
        elif match := _NO_NODE.search(line):
            found.missing_nodes.add(int(match[1]))
        elif _READY in line:
            found.ready = True
    return found


def _figures(line: str, title: str) -> dict[str, str] | None:
    _, here, rest = line.partition(title)
    if not here:
        return None
    rest = re.sub(r"^\s*\[\d+\]", "", rest).lstrip(" ,")
    return {name.strip(): value for name, value in _FIGURE.findall(rest)}


def _count(found: dict[str, str], name: str) -> int:
    return int(_number(found.get(name)) or 0)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None
