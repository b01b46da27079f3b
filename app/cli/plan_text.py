"""A plan as text for a person: the answer first, then where everything goes, then why, and the command last."""

from __future__ import annotations

from app.cli.pasting import wrapped_command
from app.cli.pictures import INDENT, curve_charts, label_column, memory_bars, placement_picture, time_bars
from app.cli.spans import Line, line, wrapped
from app.jobs.explaining import PlanReport, command_words
from app.solver.explain.bottleneck import Move
from app.solver.explain.questions import choice_text
from app.solver.objectives import reported
from app.solver.plan import Plan, Prediction
from app.units import bytes_text, count_text, rate_text
from detectors.facts import Basis

SHOWN_ALTERNATIVES = 8
WORTH_SAYING = 0.01
"""A gain below this is none."""

_KNOWN: dict[Basis, str] = {
    "measured": "measured on this machine",
    "calibrated": "calibrated on this machine",
    "driver": "reckoned with what the drivers report",
    "table": "reckoned with constants from published measurements",
    "estimated": "reckoned with a bandwidth that is a guess",
}


def plan_lines(report: PlanReport, width: int) -> list[Line]:
    """The whole plan."""
    plan = report.plan
    checked = "the engine was asked" if report.engine_checked else "by formula"
    lines = [
        *_headline(report, width),
        *answer_lines(report, width),
        *_section("Where it goes", placement_picture(report, width)),
        *_section(f"Memory ({checked})", memory_bars(report, width)),
        *_section(f"A token takes {plan.decode.ms_per_token:.3g} ms", _time_lines(report, width)),
        *_section("What would move it", _move_lines(report, width)),
        *_section("Speed over what may be chosen", curve_charts(report, width)),
        *_section("Others", _alternative_lines(plan, width)),
        *_section("Choices", _choice_lines(plan, width)),
        *_section("Notes", [one for note in plan.notes for one in wrapped(note, width, first=line(f"{INDENT}· "))]),
        *command_lines(report, width),
    ]
    return lines


def brief_lines(report: PlanReport, width: int) -> list[Line]:
    """The answer and the command."""
    return [*_headline(report, width), *answer_lines(report, width), *command_lines(report, width)]


def _section(title: str, lines: list[Line]) -> list[Line]:
    """A heading and its lines; nothing where there are none."""
    return [(), line(title, "bold"), *lines] if lines else []


def _headline(report: PlanReport, width: int) -> list[Line]:
    shape = report.shape
    kind = f"{shape.expert_used} of {shape.expert_count} experts" if shape.is_moe else "dense"
    parts = [shape.name, shape.architecture, f"{len(shape.layers)} layers, {kind}", bytes_text(shape.file_bytes)]
    return wrapped(
        " · ".join([*parts, shape.quantization] if shape.quantization else parts), width, indent=2, style="bold"
    )


def answer_lines(report: PlanReport, width: int) -> list[Line]:
    """Placement, speeds, context, engine: a label and a value each."""
    plan, work = report.plan, report.plan.workload
    users = f" for each of {work.parallel} users" if work.parallel > 1 else ""
    trained = f", trained for {count_text(report.shape.context_length)}" if report.shape.context_length else ""
    several = f", {plan.decode.batch} users at once" if plan.decode.batch > 1 else ""
    depth = f"with {count_text(plan.decode.at_context)} tokens of context{several}"
    if plan.decode.batch == 1 and work.context > plan.decode.at_context:
        depth += f", {rate_text(report.decode_full.tokens_per_s)} t/s with all {count_text(work.context)}"
    rows: list[tuple[str, str, str]] = [
        ("Placement", report.placement, ""),
        ("Decode", _speed(plan.decode), depth),
    ]
    if plan.prefill is not None:
        rows.append(("Prefill", _speed(plan.prefill), f"for a prompt of {count_text(plan.prefill.at_context)} tokens"))
    if plan.turn_s is not None:
        rows.append(("Turn", f"{plan.turn_s:.1f} s", _turn_words(plan)))
    rows += [
        ("Context", f"{count_text(work.context)}{users}", f"{plan.parameters.kv_type_k} KV cache{trained}"),
        ("Engine", f"{report.engine.runtime.replace('_', '-')} {report.engine.version}", ""),
    ]
    lines: list[Line] = []
    for label, value, rest in rows:
        lead: Line = ((f"{INDENT}{label:<11}", ""),)
        strong = label in ("Decode", "Prefill", "Turn")
        whole = f"{value}  {rest}" if rest else value
        first, *more = wrapped(whole, width, first=lead)
        lines.append((*lead, (value, "green"), (first[-1][0][len(value) :], "")) if strong else first)
        lines += more
    sure = f"{_KNOWN[plan.decode.basis]}; nine of ten measurements lie in the ranges"
    if plan.decode.basis == "estimated" and report.request.capture is None:
        sure += "; `moetune check --measure` measures the RAM"
    return [*lines, *wrapped(sure, width, first=line(f"{INDENT}{'':<11}"), style="dim")]


def _turn_words(plan: Plan) -> str:
    timed = reported(plan.workload)
    if not timed.prompt_tokens:
        return f"{timed.output_tokens} tokens out, at the end of a full context"
    users = f" for each of {timed.batch} users" if timed.batch > 1 else ""
    return f"{timed.prompt_tokens} tokens in, {timed.output_tokens} out{users}"


def _speed(prediction: Prediction) -> str:
    low, high = rate_text(prediction.low), rate_text(prediction.high)
    return f"{rate_text(prediction.tokens_per_s)} t/s ({low} to {high})"


def _time_lines(report: PlanReport, width: int) -> list[Line]:
    lines = time_bars(report.plan.decode, width)
    if report.limits:
        top = report.limits[0]
        text = f"Limit: {top.resource}, {100 * top.share:.0f} % of the time. `--explain` shows the numbers behind it."
        lines += wrapped(text, width, first=line(INDENT))
    return lines


def _move_lines(report: PlanReport, width: int) -> list[Line]:
    """Changes that gain something, the most first; then those that would not."""
    telling = [move for move in report.moves if max(abs(move.decode_gain), abs(move.prefill_gain)) >= WORTH_SAYING]
    idle = [move.change for move in report.moves if move not in telling]
    if not report.moves:
        return []
    column = label_column([move.change for move in telling])
    longest = max((len(move.change) for move in telling), default=0) + 2
    column = max(column, min(longest, width - 34))
    lines = [line(f"{INDENT}{'':<{column}}{'decode':>8}{'prefill':>9}{'turn':>8}", "dim")] if telling else []
    for move in telling:
        lines += _one_move(move, column, width)
    if idle:
        lines += wrapped(f"No gain: {', '.join(idle)}.", width, first=line(INDENT), style="dim")
    return lines


def _one_move(move: Move, column: int, width: int) -> list[Line]:
    figures = f"{_percent(move.decode_gain):>8}{_percent(move.prefill_gain):>9}{_percent(move.turn_gain):>8}"
    style = "green" if move.turn_gain >= WORTH_SAYING else ""
    first: Line = ((f"{INDENT}{move.change[: column - 1]:<{column}}", ""), (figures, style))
    return [first, *(wrapped(f"then: {move.then}", width, first=line(f"{INDENT}  "), style="dim") if move.then else [])]


def _percent(gain: float) -> str:
    return f"{100 * gain:+.0f} %" if abs(gain) >= WORTH_SAYING / 2 else "-"


def _alternative_lines(plan: Plan, width: int) -> list[Line]:
    if not plan.alternatives:
        return [line(f"{INDENT}No other placement is possible on these devices.", "dim")]
    lines: list[Line] = []
    for other in plan.alternatives[:SHOWN_ALTERNATIVES]:
        speed = f"{rate_text(other.tokens_per_s)} t/s" if other.tokens_per_s is not None else "no"
        style = "" if other.tokens_per_s is not None else "dim"
        lines += wrapped(f"{other.label}: {other.why}", width, first=line(f"{INDENT}{speed:>9}  "), style=style)
    if len(plan.alternatives) > SHOWN_ALTERNATIVES:
        lines.append(line(f"{INDENT}{'':>9}  {len(plan.alternatives) - SHOWN_ALTERNATIVES} more in --json", "dim"))
    return lines


def _choice_lines(plan: Plan, width: int) -> list[Line]:
    column = label_column([choice.name for choice in plan.choices])
    values = label_column([choice_text(choice) for choice in plan.choices])
    lines: list[Line] = []
    for choice in plan.choices:
        name = choice.name.replace("_", " ")
        lead = line(f"{INDENT}{name:<{column}}{choice_text(choice):<{values}}")
        lines += wrapped(choice.why, width, first=lead)
    return lines


def command_lines(report: PlanReport, width: int) -> list[Line]:
    """The command, ready to paste, and whether it can be run here."""
    lines = [(), line("Command", "bold")]
    lines += [line(text) for text in wrapped_command(command_words(report.command), width)]
    if not report.launchable:
        text = "This plan cannot be run here: it is for another machine, or the model is not downloaded."
        if report.plan.parameters.kt is not None:
            text = "moetune prints this command and does not run it: put the weights that it needs in MODEL's place."
        lines += [(), *wrapped(text, width, style="dim")]
    return lines
