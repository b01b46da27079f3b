"""One moment of a running engine and its machine. `None` means not known; it never means zero."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SlotSample:
    """One slot of the engine."""

    id: int
    busy: bool
    prompt_tokens_done: int
    """Prompt tokens processed for the current task."""
    prompt_tokens: int
    decoded_tokens: int
    """Tokens generated for the current task."""
    task: int
    """Identity of the current task: counters start again when it changes."""
    context: int


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """Load and memory of one device."""

    device_id: str
    load: float | None = None
    """0 to 1."""
    used_bytes: int | None = None
    total_bytes: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    reason: str = ""
    """Why values are missing, one clause."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one tick of the sampler saw."""

    at: float
    """Monotonic seconds."""
    decode_tps: float | None
    """Tokens generated per second since the last tick over all slots; `None` while nothing decodes."""
    prefill_tps: float | None
    slots: tuple[SlotSample, ...] = ()
    devices: tuple[DeviceSample, ...] = ()
    engine_rss_bytes: int | None = None
    engine_reachable: bool = False


EMPTY = Sample(at=0.0, decode_tps=None, prefill_tps=None)


@dataclass(frozen=True, slots=True)
class Timings:
    """What an engine measured of one finished request."""

    prompt_tokens: int
    prompt_ms: float
    predicted_tokens: int
    predicted_ms: float
    ttft_ms: float | None = None
    """Time to first token as the client saw it."""
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def prefill_tps(self) -> float | None:
        """Prompt tokens per second."""
        return 1000.0 * self.prompt_tokens / self.prompt_ms if self.prompt_ms > 0 else None

    @property
    def decode_tps(self) -> float | None:
        """Generated tokens per second. llama.cpp's time spans the steps after the first token."""
        steps = self.predicted_tokens - 1
        return 1000.0 * steps / self.predicted_ms if self.predicted_ms > 0 and steps > 0 else None
