"""A planned run written down for other programs: one module for each form, from a plan to text. Pure."""

from __future__ import annotations

from collections.abc import Callable

from app.jobs.exports.compose import compose_file
from app.jobs.exports.kt_rules import kt_rules
from app.jobs.exports.launch import Launch, launch_of
from app.jobs.exports.llama_preset import llama_preset
from app.jobs.exports.llama_swap import llama_swap
from app.jobs.exports.shell import shell_script
from app.jobs.exports.systemd import systemd_unit

__all__ = ["FORMS", "Launch", "launch_of"]

FORMS: dict[str, Callable[[Launch], str]] = {
    "sh": shell_script,
    "systemd": systemd_unit,
    "llama-swap": llama_swap,
    "llama-preset": llama_preset,
    "compose": compose_file,
    "kt-0.3-rules": kt_rules,
}
"""What `--as` takes -> what writes it. Each raises `UsageError` where the form cannot say what the plan needs."""
