"""Saves all that is read of a machine, so that it can be looked at elsewhere: a bug report becomes a test.

Nothing is collected beyond what the detectors ask for: they run on a host that notes every question and its answer.
What may be saved of an answer is for `detectors.scrub`. A capture is a folder, or a .tar.gz of one, with the files at
their paths, `answers.json` and `nvml.json` for what no file says, and a manifest, `capture.json`.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from detectors.engines import interferes
from detectors.host import ANSWERS, NVML, Host
from detectors.registry import detect
from detectors.scrub import Scrub
from detectors.symlinks import follow

FORMAT = 1
"""Of the manifest; raised when an older moetune could not read a capture."""
MANIFEST = "capture.json"
_ARCHIVES = (".tar.gz", ".tgz")
_MOST_BYTES = 256 * 1024 * 1024  # of an unpacked capture; real ones have about 1 MB
_MOST_MEMBERS = 200_000
_ABSENT = ("", "absent", "not a plain file", "not a symlink", "a folder", "too many symlinks")
_VARIABLES = ("HOME", "XDG_CONFIG_HOME", "PROCESSOR_IDENTIFIER")  # what detectors ask for besides
_LISTED_ONLY = {"/": "pu", "/var/lib/pacman/local": "linux-firmware"}
"""Folders whose entries are nobody's business but for those that begin so."""


class CaptureError(ValueError):
    """A file or folder that is no capture, or that cannot be one."""


@dataclass(frozen=True, slots=True)
class CaptureReport:
    """What was saved."""

    path: Path
    files: int
    size_bytes: int
    """Of the texts, unpacked."""
    left_out: tuple[str, ...]
    """Files that were read but are not on the list of those that may be saved."""


def capture(host: Host, path: str | Path, *, tool: str = "moetune", timeout_s: float = 10.0) -> CaptureReport:
    """Save what the detectors read of a host.

    Args:
        host: a live or a recorded host.
        path: a `.tar.gz`, or the folder to make.
        tool: name and version of the program, for the manifest.
        timeout_s: the time limit of each detector.

    Raises:
        CaptureError: the folder exists and is not empty.
        OSError: it cannot be written.
    """
    target = Path(path)
    archive = target.name.endswith(_ARCHIVES)
    if not archive and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CaptureError(f"{target} exists already and is not an empty folder")
    recorder = _Recorder(host)
    detect(recorder, timeout_s)
    with tempfile.TemporaryDirectory(prefix="moetune-capture-") as scratch:
        tree = Path(scratch) / "host"
        files, size, left_out = recorder.write(tree)
        manifest = {"format": FORMAT, "date": datetime.now(UTC).isoformat(timespec="seconds"), "tool": tool}
        (tree / MANIFEST).write_text(json.dumps(manifest | {"files": files, "left_out": left_out}, indent=1))
        if archive:
            partial = target.with_name(f".{target.name}.part")
            with tarfile.open(partial, "w:gz") as tar:
                tar.add(tree, ".", filter=_anonymous)
            os.replace(partial, target)
        else:
            shutil.copytree(tree, target, symlinks=True, dirs_exist_ok=True)
    return CaptureReport(target, files, size, tuple(left_out))


def open_capture(path: str | Path) -> Host:
    """A host as it was captured, from a folder or an archive (also of a tree that someone else recorded).

    Raises:
        CaptureError: there is no such file, or it is none that can be read.
    """
    source = Path(path)
    if source.is_dir():
        return Host(source)
    if not source.is_file():
        raise CaptureError(f"there is no capture at {source}")
    scratch = tempfile.TemporaryDirectory(prefix="moetune-host-", ignore_cleanup_errors=True)
    try:
        with tarfile.open(source) as tar:
            members = _bounded(tar)
            tar.extractall(scratch.name, members, filter=_inside)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        scratch.cleanup()
        raise CaptureError(f"{source} is no capture that can be read: {error}") from error
    return _Unpacked(scratch)


class _Unpacked(Host):
    """A host in a temporary folder that goes when the host does."""

    def __init__(self, scratch: tempfile.TemporaryDirectory[str]) -> None:
        root = Path(scratch.name)
        inside = list(root.iterdir())
        # Other projects' archives hold one folder with the tree in it.
        alone = inside[0] if len(inside) == 1 and inside[0].is_dir() and inside[0].name not in ("proc", "sys") else root
        super().__init__(alone)
        self._scratch = scratch


def _bounded(tar: tarfile.TarFile) -> list[tarfile.TarInfo]:
    members = []
    size = 0
    for member in tar:
        size += member.size
        members.append(member)
        if size > _MOST_BYTES or len(members) > _MOST_MEMBERS:
            raise CaptureError("it is far larger than a capture can be")
    return members


def _inside(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
    """Only what stays in the folder; an absolute link of a recorded tree is dropped, and what it led to is absent."""
    try:
        return tarfile.data_filter(member, path)
    except tarfile.FilterError:
        return None


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


class _Recorder(Host):
    """Passes every question on to a host, and notes it with its answer."""

    def __init__(self, source: Host) -> None:
        super().__init__(source.root, source.env)
        self._source = source
        self._files: dict[str, bytes] = {}
        self._refused: dict[str, str] = {}
        self._folders: dict[str, list[str]] = {}
        self._present: set[str] = set()
        self._links: set[str] = set()
        self._answered: dict[str, object] = {}
        self._nvml: object = None

    def data(self, path: str) -> bytes | None:
        found = self._source.data(path)
        if found is not None:
            self._files[path] = found
        elif self._source.why(path) not in _ABSENT:
            self._refused[path] = self._source.why(path)
        return found

    def names(self, path: str) -> list[str]:
        found = self._source.names(path)
        if found or not self._source.why(path):
            start = _LISTED_ONLY.get(path, "")
            self._folders[path] = [name for name in found if name.startswith(start)]
        return found

    def link(self, path: str) -> str | None:
        self._links.add(path)
        return self._source.link(path)

    def exists(self, path: str) -> bool:
        found = self._source.exists(path)
        if found:
            self._present.add(path)
        return found

    def why(self, path: str) -> str:
        return self._why.get(path) or self._source.why(path)

    def run(self, argv: Sequence[str], timeout_s: float = 3.0) -> str | None:
        output = self._source.run(argv, timeout_s)
        if output is not None:
            self._answered["tool " + " ".join(argv)] = output
        return output

    def ask(self, question: str, *words: str) -> object:
        answer = self._source.ask(question, *words)
        if question == "nvml":
            self._nvml = answer
        elif answer is not None:
            self._answered[" ".join((question, *words))] = answer
        return answer

    def nvml(self) -> ModuleType | None:
        return self._source.nvml()

    def variables(self) -> Mapping[str, str]:
        found = self._source.variables()
        kept = {name: value for name, value in found.items() if interferes(name) or name in _VARIABLES}
        self._answered["environment"] = kept
        return found

    def write(self, tree: Path) -> tuple[int, int, list[str]]:
        """Write what was noted; answers the number of files, their bytes, and what was left out."""
        scrub = Scrub(self._people(), self._hosts())
        tree.mkdir(parents=True)
        links: dict[str, str] = {}
        left_out: list[str] = []
        files: dict[str, bytes] = {}
        for path, data in sorted(self._files.items()):
            real = self._real(path, links)
            text = None if real == ANSWERS else scrub.file(path, data)
            if text is not None:
                files[scrub.path(real)] = text
            elif real != ANSWERS:
                left_out.append(scrub.path(path))
        folders = {self._real(path, links): names for path, names in self._folders.items()}
        present = {self._real(path, links) for path in self._present}
        for path in self._links:
            self._real(path, links)
        if self._nvml is not None:
            files[NVML] = json.dumps(scrub.value(self._nvml)).encode()
        answers = scrub.value(self._answered) if self._answered else {}
        assert isinstance(answers, dict)
        refused = {scrub.path(path): why for path, why in self._refused.items()}
        files[ANSWERS] = json.dumps(answers | {"refused": refused}).encode()
        self._lay(tree, scrub, files, folders, present, links)
        return len(files), sum(map(len, files.values())), left_out

    def _lay(
        self, tree: Path, scrub: Scrub, files: Mapping[str, bytes], folders: Mapping[str, list[str]],
        present: set[str], links: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Contents first, then folders, then what is only known to be there, and symlinks last."""
        for path, data in files.items():
            file = _under(tree, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        for path in folders:
            _under(tree, scrub.path(path)).mkdir(parents=True, exist_ok=True)
        for path in sorted(present):
            place = _under(tree, scrub.path(path))
            if not place.exists():
                is_folder = os.path.isdir(follow(self._source.root, path))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.mkdir() if is_folder else place.touch()
        for path, said in links.items():
            place = _under(tree, scrub.path(path))
            inward = os.path.relpath(said, os.path.dirname(path)) if said.startswith("/") else said
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink() and not place.exists():
                place.symlink_to(scrub.path(inward))
        for path, names in folders.items():
            for name in names:
                place = _under(tree, scrub.path(f"{path}/{name}"))
                if not place.exists() and not place.is_symlink():
                    place.touch()

    def _real(self, path: str, links: dict[str, str]) -> str:
        """The path without symlinks, as a path of the host; the links on the way are noted."""
        root = self._source.root.rstrip("/")
        try:
            return follow(self._source.root, path, links)[len(root) :] or "/"
        except OSError:
            return path

    def _people(self) -> set[str]:
        found = {self._source.env.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
        return found | {os.path.basename(self._source.variables().get("HOME", ""))}

    def _hosts(self) -> set[str]:
        shown = self._source.text("/proc/sys/kernel/hostname") or self._source.text("/etc/hostname") or ""
        return {shown, shown.partition(".")[0]}


def _under(tree: Path, path: str) -> Path:
    return tree / path.lstrip("/")
