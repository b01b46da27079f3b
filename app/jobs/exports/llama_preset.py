"""A section of a llama.cpp models preset, for `llama-server --models-preset FILE`.

Keys are options without their dashes. Source: llama.cpp 0.5.0, `common/preset.cpp`: a value ends before ` #`, ` ;` or
at the line's end and cannot be quoted; the router gives each model its own host and port.
"""

from __future__ import annotations

import shlex

from app.errors import UsageError
from app.jobs.exports.launch import Launch

_ROUTERS = frozenset({"--host", "--port", "-lv", "--verbosity", "--log-verbosity"})
"""What the router decides for all of its models."""

_LONG = {
    "-m": "model", "-dev": "device", "-ts": "tensor-split", "-ngl": "n-gpu-layers", "-ot": "override-tensor",
    "-c": "ctx-size", "-b": "batch-size", "-ub": "ubatch-size", "-fa": "flash-attn", "-ctk": "cache-type-k",
    "-ctv": "cache-type-v", "-np": "parallel", "-t": "threads", "-tb": "threads-batch", "-cram": "cache-ram",
}  # fmt: skip
"""What people read in such files; any name of an option is taken."""


def llama_preset(launch: Launch) -> str:
    """The file, with one section.

    Raises:
        UsageError: the plan is for another runtime, or a value cannot be written in this format.
    """
    if launch.runtime != "llama_server":
        raise UsageError(
            f"A llama.cpp preset is for llama-server, and this plan is for {launch.runtime}.", hint="Use --as sh."
        )
    settings = [f"{name}={shlex.quote(value)}" for name, value in launch.env]
    start = " ".join([*(["env", *settings] if settings else []), *map(shlex.quote, launch.program)])
    lines = [
        *(f"# {line}" for line in launch.about),
        f"# start: {start} --models-preset THIS-FILE --models-max 1 --port {launch.port}",
        "",
        f"[{launch.name}]",
    ]
    for option, value in launch.options():
        if option not in _ROUTERS:
            lines.append(f"{_key(option)} = {'true' if value is None else _value(option, value)}")
    return "\n".join(lines) + "\n"


def _key(option: str) -> str:
    return _LONG.get(option, option.lstrip("-"))


def _value(option: str, value: str) -> str:
    if value != value.strip() or set(value) & set(";#\r\n") or not value:
        raise UsageError(
            f"A llama.cpp preset cannot hold the value {value!r} of {option}.",
            hint="Give the file a name without `#`, `;` and spaces at its ends, or use --as sh.",
        )
    return value
