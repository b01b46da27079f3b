"""`moetune` without a command: the terminal UI."""

from __future__ import annotations

import argparse
import sys

from app.errors import ExitCode, UsageError


def run(arguments: argparse.Namespace) -> int:
    """Open the UI."""
    if arguments.version:
        from app.version import __version__

        print(f"moetune {__version__}")
        return ExitCode.OK
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "The UI needs a terminal, and this is none.",
            hint="Use a command instead: `moetune check`, `moetune plan MODEL`, `moetune run MODEL --plain`.",
        )
    from app.ui.app import run as run_ui

    return run_ui(capture=arguments.capture)
