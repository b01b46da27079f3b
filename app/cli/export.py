"""`moetune export`: a plan as a script, a unit or an entry of another program's configuration."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from app.cli.output import narrate
from app.cli.plan import request_from
from app.errors import ExitCode, UsageError
from app.jobs.exports import FORMS, launch_of
from app.jobs.planning import PlannedRun, make_plan
from app.jobs.scenarios import PREFIX, find_scenario

_PLACEHOLDER = "/path/to/model.gguf"


def run(arguments: argparse.Namespace) -> int:
    """Plan, write the text, and say what is still to be done."""
    target = Path(arguments.output).expanduser() if arguments.output else None
    if target is not None and target.exists() and not arguments.force:
        raise UsageError(f"{target} exists already.", hint="Give another -o FILE, or --force to overwrite it.")
    planned = make_plan(request_from(arguments))
    name = arguments.model.removeprefix(PREFIX).rpartition("/")[2].removesuffix(".gguf")
    text = FORMS[arguments.form](launch_of(planned, name=name, model_path=_model_path(planned, arguments.model)))
    if target is None:
        print(text, end="")
        return ExitCode.OK
    try:
        target.write_text(text, encoding="utf-8")
        if arguments.form == "sh":
            target.chmod(0o755)
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror}.") from error
    narrate(f"wrote {target}")
    return ExitCode.OK


def _model_path(planned: PlannedRun, words: str) -> str | None:
    """An absolute path: a service starts elsewhere. Of a file that is not here, where a download would put it."""
    if planned.plan.runtime != "llama.cpp":
        narrate("put the folders of the checkpoint and the converted experts in place of MODEL and WEIGHTS")
        return None
    if Path(planned.plan.model_path).is_file():
        return os.path.abspath(planned.plan.model_path)
    scenario = find_scenario(words)
    path = _PLACEHOLDER
    if scenario is not None:
        from app.jobs.model_weights import target_dir

        path = str(target_dir(scenario) / scenario.weights.files[0])
    narrate(f"the model is not on this disk: {path} stands for it")
    return path
