"""The running engine in lines of text. Pure functions of samples and a width."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.content import Content

from app.ui.machine_text import device_name
from app.ui.widgets.bars import Part, bar, unknown_bar
from app.units import bytes_text, count_text, rate_text

if TYPE_CHECKING:
    from app.telemetry.sample import DeviceSample, Sample, Timings
    from detectors.facts import Machine

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f]")

NAME_CELLS = 12
"""Width of the column of device names."""

STATE_WORDS = {
    "IDLE": ("○", "no engine", "$muted"),
    "STARTING": ("◐", "starting", "bold $warning"),
    "READY": ("●", "ready", "bold $success"),
    "STOPPING": ("◑", "stopping", "bold $warning"),
    "EXITED": ("■", "exited", "bold $error"),  # glyphs differ, so that colour is not needed
}
"""State name -> glyph, word and style."""


def plain_text(text: str) -> str:
    """Text of another program without escape sequences and control characters."""
    return _CONTROL.sub("", text.replace("\t", "    "))


def duration_text(seconds: float) -> str:
    """`12 s`, `3 min 12 s`, `2 h 05 min`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def endpoint(url: str) -> str:
    """What a client is to be given: the OpenAI-compatible base address."""
    return f"{url.rstrip('/')}/v1"


def status_line(state: str, label: str, url: str | None, seconds: float, width: int) -> Content:
    """`● ready  gpt-oss-20b  http://127.0.0.1:8080/v1 (c copies)  for 3 min 12 s`."""
    glyph, word, style = STATE_WORDS[state]
    parts: list[Content | str | tuple[str, str]] = [(f"{glyph} {word}", style), "  ", (label, "bold")]
    if url is not None and state == "READY":
        parts += ["  ", (endpoint(url), "$primary"), ("  c copies", "$muted")]
    if state != "IDLE":
        parts.append((f"  for {duration_text(seconds)}", "$muted"))
    return Content.assemble(*parts).truncate(width, ellipsis=True)


def context_used(sample: Sample) -> tuple[int, int] | None:
    """Tokens in the fullest slot and its size; `None` while no slot says."""
    slots = [(slot.prompt_tokens_done + slot.decoded_tokens, slot.context) for slot in sample.slots if slot.context > 0]
    return max(slots, key=lambda pair: pair[0] / pair[1]) if slots else None


def figures(sample: Sample, last_decode: float | None, timings: Timings | None) -> list[tuple[str, str, str]]:
    """Name, value and small print of each big figure. A dash is "nothing now", never a zero."""
    used = context_used(sample)
    ttft = timings.ttft_ms if timings is not None else None
    prefill = timings.prefill_tps if timings is not None else None
    decode_note = (
        "now" if sample.decode_tps is not None else f"idle, last {rate_text(last_decode)}" if last_decode else "idle"
    )
    return [
        ("decode t/s", _figure(sample.decode_tps), decode_note),
        (
            "prefill t/s",
            _figure(sample.prefill_tps if sample.prefill_tps is not None else prefill),
            _prefill_note(sample, prefill),
        ),
        (
            "TTFT",
            "-" if ttft is None else f"{ttft / 1000:.2f}",
            "s to first token" if ttft is not None else "no request yet",
        ),
        (
            "context",
            "-" if used is None else f"{100 * used[0] / used[1]:.0f}",
            "n/a: no slot yet" if used is None else f"% of {count_text(used[1])}",
        ),
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else rate_text(value)


def _prefill_note(sample: Sample, last: float | None) -> str:
    return "now" if sample.prefill_tps is not None else "last request" if last is not None else "idle"


def figures_line(values: Sequence[tuple[str, str, str]]) -> Content:
    """The figures on one line, for small terminals."""
    parts: list[Content | str | tuple[str, str]] = []
    for name, value, note in values:
        unit = "s" if name == "TTFT" and value != "-" else note if name == "context" and value != "-" else ""
        parts += [(f"{name} ", "$muted"), (value, "bold"), f" {unit}".rstrip(), "  "]
    return Content.assemble(*parts[:-1])


def device_rows(machine: Machine | None, samples: Sequence[DeviceSample], width: int) -> list[Content]:
    """Load and memory of each device; what is missing is `n/a` with its reason."""
    if not samples:
        return [Content.styled("devices: n/a, no sample yet", "$muted")]
    return [line for sample in samples for line in _device_row(machine, sample, width)]


def _device_row(machine: Machine | None, sample: DeviceSample, width: int) -> list[Content]:
    """One line, or two where there is little room."""
    name = device_name(machine, sample.device_id, NAME_CELLS - 1) if machine is not None else sample.device_id
    narrow = width < 64
    room = max(5, width - NAME_CELLS - 7 if narrow else min(24, width - 52))
    if sample.load is not None:
        load = Content.assemble(bar([Part(sample.load, "█", "$primary")], 1.0, room), f"{100 * sample.load:4.0f} %")
    else:
        load = Content.assemble(unknown_bar(room), "   n/a")
    facts: list[str | tuple[str, str]] = []
    if sample.used_bytes is not None and sample.total_bytes:
        facts.append(f"{sample.used_bytes / 2**30:.1f} of {bytes_text(sample.total_bytes)}")
    else:
        facts.append("memory n/a")
    facts += [f"  {sample.power_w:.0f} W"] if sample.power_w is not None else []
    facts += [f"  {sample.temperature_c:.0f} °C"] if sample.temperature_c is not None else []
    facts += [(f"  {sample.reason}", "$muted")] if sample.reason else []
    head = Content.assemble(f"{name[: NAME_CELLS - 1]:<{NAME_CELLS}}", load)
    if narrow:
        return [head, Content.assemble(" " * NAME_CELLS, *facts)]
    return [Content.assemble(head, "  ", *facts)]
