"""What can go wrong, said in one sentence, with what to do and the exit code.

Every error a person can cause is a `MoetuneError`. Its text names what is wrong and where; `hint` says what to
do. The command line prints both on stderr and exits with `exit_code`; the UI shows them in a dialog.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The exit codes of every command, in one place. `check` gives 1 and 2 meanings of their own."""

    OK = 0
    FAILED = 1
    """Something went wrong that no other code names."""
    USAGE = 2
    """The words on the command line were wrong (argparse's own code)."""
    MODEL = 3
    """The model could not be read, or is of a kind that is not known."""
    NO_FIT = 4
    """No placement of this model fits this machine."""
    NO_ENGINE = 5
    """No engine was found that could run it."""
    ENGINE_FAILED = 6
    """The engine crashed, or never became ready."""
    PORT_IN_USE = 7
    """Another program listens on the port."""
    BUILD_FAILED = 8
    """The engine could not be built."""
    BUSY = 9
    """An engine of ours is running already, or another moetune owns it."""
    COSTS = 1
    """`check` only: what it found costs speed or memory."""
    BLOCKS = 2
    """`check` only: what it found keeps a device or an engine from working."""
    HUNG_UP = 129
    """SIGHUP: the terminal was closed."""
    INTERRUPTED = 130
    """SIGINT: Ctrl-C."""
    TERMINATED = 143
    """SIGTERM."""


class MoetuneError(Exception):
    """The root of every error that is reported to a person.

    Args:
        message: what is wrong and where, one sentence.
        hint: what to do about it, one sentence; empty where there is nothing to do.
    """

    title: ClassVar[str] = "moetune stopped"
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MoetuneError):
    """A request that makes no sense as it stands."""

    title = "Not a usable request"
    exit_code = ExitCode.USAGE


class ModelError(MoetuneError):
    """A model file that is missing, damaged or of an unknown kind."""

    title = "The model cannot be used"
    exit_code = ExitCode.MODEL


class NoFitError(MoetuneError):
    """No placement of the model fits the memory there is."""

    title = "The model does not fit"
    exit_code = ExitCode.NO_FIT


class NoEngineError(MoetuneError):
    """No engine was found, or none that can do what was asked."""

    title = "No engine"
    exit_code = ExitCode.NO_ENGINE


class EngineFailedError(MoetuneError):
    """An engine that crashed, hung, or refused its arguments."""

    title = "The engine failed"
    exit_code = ExitCode.ENGINE_FAILED


class PortInUseError(MoetuneError):
    """Another program listens on the port that the engine was to have."""

    title = "The port is taken"
    exit_code = ExitCode.PORT_IN_USE


class BuildFailedError(MoetuneError):
    """A build of the engine that did not succeed."""

    title = "The build failed"
    exit_code = ExitCode.BUILD_FAILED


class BusyError(MoetuneError):
    """Another moetune holds the engine."""

    title = "Busy"
    exit_code = ExitCode.BUSY
