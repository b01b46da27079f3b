"""The command line: words in, one of the jobs, text or JSON out, and a meaningful exit code.

Results go to stdout, narration and errors to stderr.
"""

from __future__ import annotations

import os
import sys

from app.errors import ExitCode, MoetuneError


def main(argv: list[str] | None = None) -> int:
    """Run one command. Returns the exit code; never lets a person see a traceback for what they typed."""
    words = sys.argv[1:] if argv is None else argv
    if words == ["--version"]:
        from app.version import __version__

        print(f"moetune {__version__}")
        return ExitCode.OK
    try:
        from app.cli.arguments import parse

        arguments = parse(words)
        code: int = arguments.command(arguments)
        sys.stdout.flush()
    except MoetuneError as error:
        _say(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("moetune: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`moetune check | head -1`): nothing is left to say, to anybody.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    return code


def _say(error: MoetuneError) -> None:
    print(f"moetune: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  -> {error.hint}", file=sys.stderr)


def entry() -> None:
    """The console script."""
    sys.exit(main())
