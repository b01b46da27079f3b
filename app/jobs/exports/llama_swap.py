"""An entry of llama-swap's config.yaml.

Its keys are those of llama-swap's config-schema.json: `cmd` with the macro `${PORT}`, `env`, `name`, `checkEndpoint`.
"""

from __future__ import annotations

import json
import shlex

from app.errors import UsageError
from app.jobs.exports.launch import Launch


def llama_swap(launch: Launch) -> str:
    """A whole config.yaml with this model; add what is under `models` to an existing one.

    Raises:
        UsageError: a word has `${` in it, which llama-swap takes for a macro.
    """
    if bad := next((word for word in launch.argv if "${" in word), None):
        raise UsageError(f"llama-swap takes the ${{ in {bad!r} for a macro.", hint="Give the file another name.")
    unset = [part for name in launch.unset for part in ("-u", name)]
    head = " ".join(map(shlex.quote, [*(["env", *unset] if unset else []), *launch.program]))
    options = [
        f"{option} " + ("${PORT}" if option == "--port" else shlex.quote(value)) if value is not None else option
        for option, value in launch.options()
    ]
    lines = [
        *(f"# {line}" for line in launch.about),
        "healthCheckTimeout: 600",
        "models:",
        f"  {quoted(launch.name)}:",
        f"    name: {quoted(launch.title)}",
        *_command([head, *options]),
        '    checkEndpoint: "/health"',
    ]
    if launch.env:
        lines += ["    env:", *(f"      - {quoted(f'{name}={value}')}" for name, value in launch.env)]
    return "\n".join(lines) + "\n"


def _command(parts: list[str]) -> list[str]:
    if any("\n" in part or part.startswith("#") for part in parts):
        return [f"    cmd: {quoted(' '.join(parts))}"]
    return ["    cmd: |", *(f"      {part}" for part in parts)]


def quoted(text: str) -> str:
    """A YAML scalar: a JSON string is one."""
    return json.dumps(text)
