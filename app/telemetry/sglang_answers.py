"""What SGLang says of itself, as values: `/metrics` in Prometheus' text form, and `/server_info`. Pure.

`sglang:realtime_tokens_total` grows with every pass (`--enable-metrics`), so that its differences are the speed at any
rate of reading. The gauge `sglang:gen_throughput` is renewed every 40 passes only, and its first value after an idle
time is too low. Source: sglang-kt 0.7.2, `srt/observability`, `srt/entrypoints/http_server.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

_SAMPLE = re.compile(r"^sglang:(\w+)(?:\{(.*)\})?\s+(\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MODES = ("decode", "prefill_compute", "prefill_cache")


@dataclass(frozen=True, slots=True)
class SglangCounters:
    """One reading of `/metrics`; `None`: the server does not say."""

    decoded_tokens: int | None = None
    """Since it started, of all sequences."""
    prompt_tokens: int | None = None
    """Computed since it started, those of its cache left out."""
    cached_tokens: int | None = None
    running: int | None = None
    """Sequences that are worked on."""
    queued: int | None = None
    cache_usage: float | None = None
    """Share of the KV cache that is taken."""
    gauge_tps: float | None = None
    """`gen_throughput`, as it says itself."""


@dataclass(frozen=True, slots=True)
class SglangInfo:
    """What `/server_info` says."""

    version: str
    weight_gib: float | None
    """On one GPU, as are the others."""
    cache_gib: float | None
    graph_gib: float | None
    cache_tokens: int | None
    last_tps: float | None
    settings: dict[str, object] = field(default_factory=dict)
    """Every argument of the server."""

    @property
    def uses_kt(self) -> bool:
        """Whether its arguments make kt-kernel take part: weights, and a number or a share of experts on the GPU."""
        share = ("kt_num_gpu_experts", "kt_gpu_experts_ratio")
        return bool(self.settings.get("kt_weight_path")) and any(self.settings.get(name) is not None for name in share)


def parse_metrics(text: str) -> SglangCounters | None:
    """The counters in an answer of `/metrics`; `None`: it is no SGLang's.

    Ranks of tensor parallelism count the same tokens, and priorities a part of them: of the series that differ in
    nothing but these the largest counts. Those of data parallelism are added.
    """
    series: dict[tuple[str, str], dict[str, float]] = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match is None:
            continue
        labels = dict(_LABEL.findall(match[2] or ""))
        try:
            value = float(match[3])
        except ValueError:
            continue
        if value != value:  # NaN: nothing was measured yet
            continue
        ranks = series.setdefault((match[1], labels.get("mode", "")), {})
        rank = labels.get("dp_rank", "")
        ranks[rank] = max(value, ranks.get(rank, value))
    if not series:
        return None

    def total(name: str, mode: str = "") -> int | None:
        ranks = series.get((name, mode))
        return None if ranks is None else round(sum(ranks.values()))

    usage = series.get(("token_usage", ""))
    gauge = series.get(("gen_throughput", ""))
    decoded, computed, cached = (total("realtime_tokens_total", mode) for mode in _MODES)
    return SglangCounters(
        decoded_tokens=decoded,
        prompt_tokens=computed,
        cached_tokens=cached,
        running=total("num_running_reqs"),
        queued=total("num_queue_reqs"),
        cache_usage=max(usage.values()) if usage else None,
        gauge_tps=sum(gauge.values()) if gauge else None,
    )


def parse_server_info(answer: object) -> SglangInfo | None:
    """What matters in an answer of `/server_info`; `None`: it is no SGLang's."""
    if not isinstance(answer, dict) or "internal_states" not in answer:
        return None
    states = answer["internal_states"]
    state: dict[str, Any] = states[0] if isinstance(states, list) and states and isinstance(states[0], dict) else {}
    memory = state.get("memory_usage")
    sizes: dict[str, Any] = memory if isinstance(memory, dict) else {}
    tokens = _number(sizes.get("token_capacity"))
    settings = {name: value for name, value in answer.items() if name != "internal_states"}
    return SglangInfo(
        version=str(answer.get("version", "")),
        weight_gib=_number(sizes.get("weight")),
        cache_gib=_number(sizes.get("kvcache")),
        graph_gib=_number(sizes.get("graph")),
        cache_tokens=None if tokens is None else round(tokens),
        last_tps=_number(state.get("last_gen_throughput")),
        settings=settings,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
