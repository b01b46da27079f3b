"""A POSIX shell script that becomes the engine."""

from __future__ import annotations

import shlex

from app.jobs.exports.launch import Launch

_FORGET = r"""# Options in the environment would change the plan silently.
for name in $(env | sed -n 's/^\(LLAMA_ARG_[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
"""


def shell_script(launch: Launch) -> str:
    """The script; arguments that it is given come after the plan's."""
    lines = ["#!/bin/sh", *(f"# {line}" for line in launch.about), "set -eu", ""]
    if launch.runtime != "ktransformers":
        lines.append(_FORGET)
    settings = [f"{name}={shlex.quote(value)}" for name, value in launch.env]
    unset = [part for name in launch.unset for part in ("-u", name)]
    head = ["exec", *(["env", *unset, *settings] if unset or settings else []), *map(shlex.quote, launch.program)]
    options = [option if value is None else f"{option} {shlex.quote(value)}" for option, value in launch.options()]
    return "\n".join(lines) + " \\\n    ".join([" ".join(head), *options, '"$@"']) + "\n"
