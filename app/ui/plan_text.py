"""A plan in lines of text: what goes where, how much memory, how fast and why. Pure functions of values and a width."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING

from textual.content import Content

from app.ui.machine_text import BASES, device_name
from app.ui.widgets.bars import Part, bar, unknown_bar
from app.units import bytes_text, count_text, rate_text

if TYPE_CHECKING:
    from app.jobs.planning import PlannedRun
    from app.runtimes.base import Command
    from app.solver.plan import DeviceMemory, Plan, Prediction
    from detectors.facts import Machine

MAX_LABEL_CELLS = 24
"""Most cells of the column of device or term names."""

RULER = "layer"
ATTENTION, EXPERTS, BOTH, NOTHING = "▀", "▄", "█", "·"
ATTENTION_STYLE, EXPERTS_STYLE = "$accent", "$primary"


def title(planned: PlannedRun) -> str:
    """`gpt-oss-120b · MXFP4 · 59.0 GiB · 36 layers · llama-server 0.6 (built)`."""
    shape, engine = planned.shape, planned.engine
    parts = [planned.plan.model_name, shape.quantization, bytes_text(shape.file_bytes), f"{len(shape.layers)} layers"]
    if shape.is_moe:
        parts.append(f"{shape.expert_used} of {shape.expert_count} experts")
    parts.append(f"{engine.runtime.replace('_', '-')} {engine.version}")
    return " · ".join(part for part in parts if part)


def _column(names: Iterable[str]) -> int:
    """Cells of a column that holds these names."""
    return min(MAX_LABEL_CELLS, max((len(name) for name in names), default=0) + 2)


def _device_column(planned: PlannedRun) -> int:
    return max(
        len(RULER) + 1, _column(device_name(planned.machine, device_id) for device_id in planned.plan.placement.devices)
    )


def headline(planned: PlannedRun) -> Content:
    """The speed in a few words: `44.7 t/s (39.0 to 50.0)`."""
    decode = planned.plan.decode
    figure = Content.styled(f"{rate_text(decode.tokens_per_s)} t/s", "bold $success")
    return Content.assemble(figure, f" ({rate_text(decode.low)} to {rate_text(decode.high)})")


def speed_lines(planned: PlannedRun, width: int) -> list[Content]:
    """The predicted speeds, then what one token's time is made of."""
    decode, prefill, turn_s = planned.plan.decode, planned.plan.prefill, planned.plan.turn_s
    lines = [_speed_line(decode, "decode")]
    if prefill is not None:
        lines.append(_speed_line(prefill, "prefill"))
    work = planned.plan.workload
    if turn_s is not None:
        asked = f"{count_text(work.prompt_tokens)} tokens in, {count_text(work.output_tokens)} out"
        lines.append(Content.styled(f"a turn of {asked}: {turn_s:.3g} s", "$muted"))
    lines += [
        Content.styled(f"at {count_text(decode.at_context)} tokens, one takes {decode.ms_per_token:.3g} ms:", "$muted"),
    ]
    column = _column(term.name for term in decode.terms)
    room = max(6, min(30, width - column - 12))
    for term in sorted(decode.terms, key=lambda term: -term.value):
        share = bar([Part(term.value, "█", "$primary")], decode.ms_per_token, room, free=" ")
        lines.append(Content.assemble(f"{term.name[: column - 1]:<{column}}", share, f"{term.value:8.3g} ms"))
        if width >= 40:
            lines += [
                Content.styled("  " + part, "$muted") for part in textwrap.wrap(f"{term.why} ({term.basis})", width - 2)
            ]
    return lines


def _speed_line(speed: Prediction, what: str) -> Content:
    text = f" t/s {what}  ({rate_text(speed.low)} to {rate_text(speed.high)}, {BASES[speed.basis]})"
    return Content.assemble((rate_text(speed.tokens_per_s), "bold $success"), (text, "bold"))


def layer_cells(plan: Plan, device_id: str, width: int) -> str:
    """One glyph per layer for a device; several layers to a glyph where there are more layers than cells."""
    count = len(plan.placement.experts)
    attends = device_id in plan.placement.attention_devices
    moe = [layer for layer, owner in enumerate(plan.placement.experts) if owner == device_id]
    width = min(width, count)
    edges = [round(count * index / width) for index in range(width + 1)]
    glyphs = []
    for left, right in pairwise(edges):
        holds = any(left <= layer < right for layer in moe)
        glyphs.append(BOTH if attends and holds else ATTENTION if attends else EXPERTS if holds else NOTHING)
    return "".join(glyphs)


def placement_lines(planned: PlannedRun, width: int) -> list[Content]:
    """Layers across, devices down, and a legend that needs no colour."""
    plan, machine = planned.plan, planned.machine
    count = len(plan.placement.experts)
    column = _device_column(planned)
    room = max(1, min(width - column, count * 2 if count * 2 <= width - column else count))
    stretch = 2 if room == count * 2 else 1
    shown = min(room // stretch, count)
    ruler = f"{RULER:<{column}}0{count - 1:>{max(1, shown * stretch - 1)}}"
    lines = [Content.styled(ruler, "$muted")]
    for device_id in plan.placement.devices:
        row = layer_cells(plan, device_id, shown)
        pieces = [(glyph * stretch, _glyph_style(glyph)) for glyph in row]
        lines.append(Content.assemble(f"{device_name(machine, device_id):<{column}}", *pieces))
    lines.append(_legend(planned))
    lines += [Content(line) for device_id in plan.placement.devices for line in _holds(planned, device_id, width)]
    return lines


def _legend(planned: PlannedRun) -> Content:
    """The glyphs that the picture uses."""
    plan = planned.plan
    used = set().union(
        *(layer_cells(plan, device_id, len(plan.placement.experts)) for device_id in plan.placement.devices)
    )
    experts = "routed experts" if planned.shape.is_moe else "feed-forward"
    words = {ATTENTION: "attention, KV", EXPERTS: experts, BOTH: f"attention, KV and {experts}"}
    parts = [
        Content.assemble((glyph, _glyph_style(glyph)), f" {word}  ") for glyph, word in words.items() if glyph in used
    ]
    return Content(" " * _device_column(planned)) + Content("").join(parts)


def _glyph_style(glyph: str) -> str:
    return {ATTENTION: ATTENTION_STYLE, NOTHING: "$faint"}.get(glyph, EXPERTS_STYLE)


def _holds(planned: PlannedRun, device_id: str, width: int) -> list[str]:
    plan = planned.plan
    parts = ["attention and KV of every layer, the output head"] if plan.placement.head == device_id else []
    layers = [i for i in plan.placement.expert_layers(device_id) if planned.shape.layers[i].expert_bytes]
    if layers:
        moe_layers = sum(1 for layer in planned.shape.layers if layer.expert_bytes)
        parts.append(f"the routed experts of {'all' if len(layers) == moe_layers else len(layers)} layers")
    if not parts:
        return []
    return textwrap.wrap(
        f"{device_name(planned.machine, device_id)}: {'; '.join(parts)}", width, subsequent_indent="  "
    )


def memory_lines(planned: PlannedRun, width: int) -> list[Content]:
    """A bar for each pool: weights, KV, compute buffers, what is kept free, what is left."""
    plan, machine = planned.plan, planned.machine
    column = _device_column(planned)
    lines = []
    for pool_id, members in _by_pool(machine, plan).items():
        if len(members) > 1:
            names = " and ".join(device_name(machine, memory.device_id) for memory in members)
            lines.append(Content.styled(f"one pool ({pool_id}): {names}", "$muted"))
        for memory in members:
            lines += _memory_rows(device_name(machine, memory.device_id), column, memory, width)
    basis = "the engine was asked" if planned.engine_checked else "computed, the engine was not asked"
    legend = Content.assemble(
        ("█", EXPERTS_STYLE), " weights  ", ("▓", ATTENTION_STYLE), " KV  ", ("▒", "$success"), " compute  ╱ kept free"
    )
    lines += [Content(" " * column) + legend, Content.styled(" " * column + basis, "$muted")]
    return lines


def _by_pool(machine: Machine, plan: Plan) -> dict[str, list[DeviceMemory]]:
    pools = {device.id: device.pool_id for device in machine.devices}
    grouped: dict[str, list[DeviceMemory]] = {}
    for memory in plan.memory:
        grouped.setdefault(pools.get(memory.device_id, memory.device_id), []).append(memory)
    return grouped


def _memory_rows(name: str, column: int, memory: DeviceMemory, width: int) -> list[Content]:
    room = max(6, width - column)
    figures = f"{bytes_text(memory.total_bytes)}"
    if memory.available_bytes is None:
        return [
            Content.assemble(f"{name:<{column}}", unknown_bar(room)),
            Content(" " * column + f"{figures} of n/a: the device does not say how much is free"),
        ]
    parts = [
        Part(memory.weight_bytes, "█", EXPERTS_STYLE),
        Part(memory.kv_bytes, "▓", ATTENTION_STYLE),
        Part(memory.compute_bytes, "▒", "$success"),
        Part(memory.reserve_bytes, "╱", "$muted"),
    ]
    spare = memory.available_bytes - memory.total_bytes - memory.reserve_bytes
    figures += f" of {bytes_text(memory.available_bytes)} free"
    verdict = (
        (f", {bytes_text(spare)} to spare", "$success")
        if spare >= 0
        else (f"  ✗ {bytes_text(-spare)} too much", "bold $error")
    )
    total = max(memory.available_bytes, memory.total_bytes + memory.reserve_bytes)
    kept = f", {bytes_text(memory.reserve_bytes)} kept free"
    fits = column + len(figures) + len(verdict[0]) + len(kept) <= width
    return [
        Content.assemble(f"{name:<{column}}", bar(parts, total, room)),
        Content.assemble(" " * column, figures, verdict, (kept if fits else "", "$muted")),
    ]


def alternative_lines(planned: PlannedRun, width: int) -> list[Content]:
    """Each placement that lost, with its speed and why."""
    lines = []
    for other in planned.plan.alternatives:
        speed = f"{rate_text(other.tokens_per_s)} t/s" if other.tokens_per_s is not None else "no fit"
        text = textwrap.wrap(f"{other.label}: {other.why}", max(20, width - 12)) or [""]
        style = "" if other.tokens_per_s is not None else "$muted"
        lines.append(
            Content.assemble(
                (f"{speed:>10}  ", "bold" if other.tokens_per_s is not None else "$muted"), (text[0], style)
            )
        )
        lines += [Content.styled(" " * 12 + more, style) for more in text[1:]]
    return lines or [Content.styled("No other placement is possible on these devices.", "$muted")]


def note_lines(planned: PlannedRun, width: int) -> list[Content]:
    """What a person should know, one bullet each."""
    lines = []
    for note in planned.plan.notes:
        first, *rest = textwrap.wrap(note, max(20, width - 2)) or [""]
        lines += [Content.assemble(("· ", "$accent"), first), *(Content(f"  {more}") for more in rest)]
    return lines


def command_words(command: Command) -> list[str]:
    """The command word by word, each quoted for a shell."""
    env = [f"{name}={shlex.quote(value)}" for name, value in command.env.items()]
    unset = [part for name in command.unset for part in ("-u", name)]
    prefix = ["env", *unset, *env] if unset else env
    return [*prefix, *(shlex.quote(word) for word in command.argv)]


def command_text(command: Command) -> str:
    """The command as a shell takes it, on one line."""
    return " ".join(command_words(command))


def command_lines(command: Command, width: int) -> list[Content]:
    """The command over several lines, an option with its value, each line ending so that a shell joins them again."""
    groups: list[str] = []
    for word in command_words(command):
        if groups and not word.startswith("-") and groups[-1].startswith("-") and " " not in groups[-1]:
            groups[-1] += f" {word}"
        else:
            groups.append(word)
    lines = [groups[0]]
    for group in groups[1:]:
        if len(lines[-1]) + 1 + len(group) > width - 2:
            lines.append(f"  {group}")
        else:
            lines[-1] += f" {group}"
    return [Content(f"{text} \\") for text in lines[:-1]] + [Content(lines[-1])]
