"""`moetune capture`: this machine in a file, without what is nobody's business."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.cli.output import narrate, print_json
from app.errors import ExitCode, UsageError
from app.version import __version__
from detectors.capture import CaptureError, capture
from detectors.host import Host

_MOST_LISTED = 5


def run(arguments: argparse.Namespace) -> int:
    """Save it, and say what it holds and what was left out."""
    if Path(arguments.file).is_file():
        raise UsageError(f"{arguments.file} exists already.", hint="Give a new name.")
    try:
        report = capture(Host(), arguments.file, tool=f"moetune {__version__}")
    except CaptureError as error:
        raise UsageError(f"{error}.", hint="Give a new name.") from error
    except OSError as error:
        raise UsageError(
            f"{arguments.file} cannot be written: {error.strerror}.", hint="Choose another place."
        ) from error
    if arguments.json:
        print_json(report)
        return ExitCode.OK
    print(report.path)
    narrate(f"{report.files} files, {report.size_bytes // 1024} KiB; serial numbers, addresses and names are taken out")
    if report.left_out:
        narrate(f"left out: {', '.join(report.left_out[:_MOST_LISTED])}")
    narrate(f"read it with: moetune check --host {report.path}")
    return ExitCode.OK
