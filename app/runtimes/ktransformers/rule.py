"""One optimize rule of KTransformers 0.3, and a list of them as YAML. Pure.

A rule selects modules by a regular expression that is searched in their dotted path, by their class, or by both; the
first rule that selects a module decides what becomes of it. Modules that no rule selects stay as they are, on
`cuda:0`. Source: kvcache-ai/ktransformers, `archive/ktransformers/optimize/optimize.py` (`gen_optimize_config`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Arguments = dict[str, str | int | bool]
"""What a replacement is made with."""

DEFAULT = "default"
"""In place of a class: the module stays what it is, on the devices that are named."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the file."""

    replacement: str
    """Import path of the class that takes the module's place, or `default`."""
    name: str = ""
    """Regular expression; empty: any."""
    class_path: str = ""
    """Import path of the module's class, which its subclasses are too; empty: any."""
    arguments: Arguments = field(default_factory=dict)
    descends: bool = True
    """Whether the modules inside are looked at too."""

    def __post_init__(self) -> None:
        if not self.name and not self.class_path:
            raise ValueError("a rule has to select by name or by class")


def rules_yaml(rules: Sequence[Rule], about: Sequence[str] = ()) -> str:
    """The file for `--optimize_config_path`.

    Args:
        rules: in their order, which matters.
        about: comment lines for its head, without a mark.
    """
    lines = [f"# {line}" for line in about]
    for rule in rules:
        lines += _entry(rule)
    return "\n".join(lines) + "\n"


def _entry(rule: Rule) -> Iterator[str]:
    yield "- match:"
    if rule.name:
        yield f"    name: {_scalar(rule.name)}"
    if rule.class_path:
        yield f"    class: {_scalar(rule.class_path)}"
    yield "  replace:"
    yield f"    class: {_scalar(rule.replacement)}"
    if rule.arguments:
        yield "    kwargs:"
        yield from (f"      {name}: {_scalar(value)}" for name, value in rule.arguments.items())
    if not rule.descends:
        yield "  recursive: false"


def _scalar(value: str | int | bool) -> str:
    return json.dumps(value)  # what JSON writes is YAML, backslashes of expressions included
