"""The only place that opens the host's files or runs its tools, so that a recorded tree can stand for a machine.

Every read answers `None` instead of raising and remembers why (`why`). A recorded tree is never left: its
symlinks, absolute or relative, are resolved inside it, and nothing but its files is asked. What no file can hold (the
output of tools, limits, NVML's answers) a recorded tree has in `/answers.json` and `/nvml.json`: see
`detectors.capture`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from detectors.symlinks import follow

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

_MOST_BYTES = 4 * 1024 * 1024  # /proc/cpuinfo of 512 CPUs is about 1 MB; nothing that is read here is larger
# O_NONBLOCK: a FIFO that strayed into a recorded tree must not hold us. Windows has neither flag.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

ANSWERS = "/answers.json"
NVML = "/nvml.json"

_REASONS = {
    errno.ENOENT: "absent",
    errno.ENOTDIR: "absent",
    errno.ENODEV: "absent",
    errno.ENXIO: "absent",
    errno.EACCES: "permission denied",
    # amdgpu answers so for a sleeping GPU, a container's device cgroup for one that was not granted.
    errno.EPERM: "not permitted",
    errno.EBUSY: "busy",
    errno.EINVAL: "unsupported",
    errno.ENODATA: "unsupported",
    errno.EOPNOTSUPP: "unsupported",
    errno.EIO: "input/output error",
    errno.ELOOP: "too many symlinks",
    errno.EISDIR: "a folder",
}


class Host:
    """A machine as its files and tools show it.

    Args:
        root: `/` for this machine, or the folder of a recorded one.
        env: the environment for tools and for what is configured by it; this process's when `None` and live.
    """

    live: bool
    """Whether this is the running machine: only then tools, NVML, libc and the affinity are asked."""

    def __init__(self, root: str | Path = "/", env: Mapping[str, str] | None = None) -> None:
        self.live = os.fspath(root) == "/"
        self.root = "/" if self.live else os.path.realpath(root)
        self.live = self.root == "/"
        self.env: Mapping[str, str] = env if env is not None else (os.environ if self.live else {})
        self._why: dict[str, str] = {}
        self._recorded: dict[str, object] | None = None

    def text(self, path: str) -> str | None:
        """What the file says, without NULs and surrounding white space; `None` if it cannot be had."""
        data = self.data(path)
        return None if data is None else data.decode("utf-8", "replace").replace("\0", "").strip()

    def data(self, path: str) -> bytes | None:
        """The file's bytes, at most 4 MiB of them; `None` if they cannot be had."""
        return self._read(path)

    def integer(self, path: str) -> int | None:
        """The file's one number, decimal or `0x` hexadecimal; `None` if it is not there or is none."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return int(text, 16 if text.lower().startswith("0x") else 10)
        except ValueError:
            self._why[path] = f"not a number: {text[:40]!r}"
            return None

    def natural(self, path: str) -> int | None:
        """The file's one number if it is a size or a count: not negative, and of at most 64 bits."""
        value = self.integer(path)
        if value is None or 0 <= value < 1 << 64:
            return value
        self._why[path] = f"no size: {value}"
        return None

    def why(self, path: str) -> str:
        """Why the last read of the path failed: `absent`, `permission denied` ...; empty if it did not."""
        return self._why.get(path, "")

    def names(self, path: str) -> list[str]:
        """The entries of a folder, sorted; none if it cannot be listed."""
        try:
            found = sorted(os.listdir(self._inside(path)))
        except (OSError, ValueError) as error:
            self._why[path] = _reason(error)
            return []
        self._why.pop(path, None)
        return found

    def link(self, path: str) -> str | None:
        """Where a symlink leads in the end, as a path of the host; `None` if there is no such link.

        The target need not exist: recorded trees hold links whose targets were not recorded.
        """
        try:
            parent, name = os.path.split(path.rstrip("/"))
            if not stat.S_ISLNK(os.lstat(os.path.join(self._inside(parent), name)).st_mode):
                self._why[path] = "not a symlink"
                return None
            target = os.path.realpath(path) if self.live else self._inside(path)[len(self.root) :]
        except (OSError, ValueError) as error:
            self._why[path] = _reason(error)
            return None
        self._why.pop(path, None)
        return target or "/"

    def exists(self, path: str) -> bool:
        """Whether there is anything at the path that this process may look up."""
        try:
            return os.path.exists(self._inside(path))
        except (OSError, ValueError):
            return False

    def run(self, argv: Sequence[str], timeout_s: float = 3.0) -> str | None:
        """The standard output of a tool that succeeded in time; `None` otherwise (`why` of its name says why).

        A recorded host answers with what the tool said when it was recorded.
        """
        key = argv[0]
        if not self.live:
            output = self._answers().get("tool " + " ".join(argv))
            if isinstance(output, str):
                return output
            self._why[key] = "a recorded host runs no tools"
            return None
        import subprocess

        try:
            done = subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                env=dict(self.env),
                check=False,
            )
        except subprocess.TimeoutExpired:
            self._why[key] = f"no answer within {timeout_s:g} s"
            return None
        except (OSError, ValueError) as error:
            self._why[key] = _reason(error)
            return None
        if done.returncode != 0:
            self._why[key] = f"exit code {done.returncode}"
            return None
        self._why.pop(key, None)
        return done.stdout.decode("utf-8", "replace")

    def ask(self, question: str, *words: str) -> object:
        """What the operating system answers where no file does: a JSON value, `None` if it does not answer.

        Args:
            question: a function of `detectors.questions`.
            words: its arguments.
        """
        if not self.live:
            return self._answers().get(" ".join((question, *words)))
        from detectors import questions

        return questions.ask(self, question, *words)

    def nvml(self) -> ModuleType | None:
        """NVIDIA's management library as the module `pynvml`; `None` where it is not there, or on a recorded host."""
        if not self.live:
            self._why["nvml"] = self._why.get(NVML) or "its answers are not in the recording"
            return None
        try:
            import pynvml
        except ImportError as error:
            self._why["nvml"] = f"nvidia-ml-py cannot be imported: {error}"
            return None
        library: ModuleType = pynvml
        return library

    def affinity(self) -> frozenset[int] | None:
        """The CPUs that this process may use (its cpuset included); `None` where that is not known."""
        found = self.ask("affinity")
        if not isinstance(found, list) or not all(isinstance(cpu, int) for cpu in found):
            return None
        return frozenset(found)

    def machine(self) -> str | None:
        """The architecture as `uname -m` names it; `None` where that is not known."""
        found = self.ask("machine")
        return found if isinstance(found, str) else None

    def system(self) -> str:
        """`Linux`, `Darwin` or `Windows`; a recorded host is a Linux one if it does not say otherwise."""
        found = self.ask("system")
        return found if isinstance(found, str) and found else "Linux"

    def page_bytes(self) -> int:
        """The page size of the running kernel; 4096 is taken where it is not known."""
        found = self.ask("page_bytes")
        return found if isinstance(found, int) and found > 0 else 4096

    def variables(self) -> Mapping[str, str]:
        """The environment; a recorded host's is what was recorded of it."""
        if self.live or self.env:
            return self.env
        found = self._answers().get("environment")
        return {key: str(value) for key, value in found.items()} if isinstance(found, dict) else {}

    def _answers(self) -> dict[str, object]:
        """A recorded host's `/answers.json`."""
        if self._recorded is None:
            found: object = None
            text = self.text(ANSWERS)
            if text is not None:
                import json

                with suppress(ValueError, RecursionError):
                    found = json.loads(text)
            self._recorded = found if isinstance(found, dict) else {}  # in one go: detectors are threads
        return self._recorded

    def _refusals(self) -> dict[str, str]:
        """Files that the recorded host refused to show, with its reasons."""
        found = self._answers().get("refused")
        return found if isinstance(found, dict) else {}

    def _read(self, path: str) -> bytes | None:
        if not self.live and path != ANSWERS and (why := self._refusals().get(path)):
            self._why[path] = why
            return None
        try:
            handle = os.open(self._inside(path), _OPEN)
            try:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    self._why[path] = "not a plain file"
                    return None
                parts: list[bytes] = []
                left = _MOST_BYTES
                while left > 0 and (part := os.read(handle, min(left, 65536))):
                    parts.append(part)
                    left -= len(part)
            finally:
                os.close(handle)
        except (OSError, ValueError) as error:
            self._why[path] = _reason(error)
            return None
        self._why.pop(path, None)
        return b"".join(parts)

    def _inside(self, path: str) -> str:
        """The real path of a host path, every symlink followed as if the root were `/`."""
        return path if self.live else follow(self.root, path)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno, os.strerror(error.errno))
    return str(error)
