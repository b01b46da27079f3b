"""An installed llama.cpp: `llama-server`, or `llama serve` of the umbrella binary."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.paths import cache_dir, data_dir
from app.runtimes import memory_oracle
from app.runtimes.base import Command, Engine, EngineDevice, EngineOrigin
from app.runtimes.llama_command import server_command, tool_argv
from app.runtimes.llama_devices import CPU_DEVICE, backends_of, parse_devices
from app.runtimes.llama_probe import DEVICES_LIMIT_S, Answer, ask, identify
from app.runtimes.rpc_servers import require_reachable
from app.solver.plan import Plan

CONFIGURED = "MOETUNE_LLAMA_SERVER"
"""Variable that names a llama-server, a `llama`, or a folder with one."""

TOOLS = {
    "llama-fit-params": "fit-params",
    "llama-bench": "bench",
    "llama-batched-bench": "batched-bench",
    "ggml-rpc-server": "",
}
"""Sibling tools, and their words within the umbrella binary (none: it has no such word)."""

_KNOWN_FOLDERS = (
    "/usr/local/bin",
    "~/.local/bin",
    "~/llama.cpp/build/bin",
    "~/src/llama.cpp/build/bin",
    "/opt/llama.cpp/bin",
    "/opt/llama.cpp/build/bin",
    "/opt/llama.cpp",
    "/usr/lib/llama.cpp/bin",
    "/home/linuxbrew/.linuxbrew/bin",
)
"""Where people and packages put a llama.cpp that is not on PATH."""

_BACKEND_LIBRARIES = {"libggml-cuda.so": "CUDA", "libggml-hip.so": "ROCm", "libggml-vulkan.so": "Vulkan"}


@dataclass(frozen=True, slots=True)
class BrokenEngine:
    """A binary that was found and cannot be used."""

    path: Path
    origin: EngineOrigin
    reason: str
    """One sentence, such as `The engine needs the shared library libcudart.so.12, which is not installed.`"""
    hint: str


@dataclass(frozen=True, slots=True)
class Survey:
    """Everything that was found, best first."""

    engines: tuple[Engine, ...]
    broken: tuple[BrokenEngine, ...]


class LlamaServer:
    """Finds llama.cpp servers and speaks to them."""

    name = "llama_server"

    def discover(self, rpc: tuple[str, ...] = ()) -> tuple[Engine, ...]:
        """Every llama.cpp that works: configured, built by us, on PATH, in known places.

        Raises:
            UsageError: an RPC server is not written as `host:port`.
            NoEngineError: an RPC server does not answer.
        """
        return self.survey(rpc).engines

    def survey(self, rpc: tuple[str, ...] = ()) -> Survey:
        """Like `discover`, with the binaries that cannot be used and why."""
        require_reachable(rpc)
        candidates = list(find_binaries())
        found: dict[int, Engine | BrokenEngine] = {}

        def work(index: int, path: Path, origin: EngineOrigin) -> None:
            found[index] = inspect(path, origin, rpc)

        threads = [
            threading.Thread(target=work, args=(index, path, origin), daemon=True)
            for index, (path, origin) in enumerate(candidates)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ordered = [found[index] for index in range(len(candidates))]
        broken = (item for item in ordered if isinstance(item, BrokenEngine))
        return Survey(
            tuple(item for item in ordered if isinstance(item, Engine)),
            # Other programs are called `llama` too; only one that a person named is worth a word.
            tuple(item for item in broken if item.path.name != "llama" or item.origin == "configured"),
        )

    def command(self, plan: Plan, engine: Engine, *, port: int, host: str = "127.0.0.1") -> Command:
        """The command that serves `plan`."""
        nowhere = cache_dir() / "no-config"
        return server_command(plan, engine, port=port, host=host, config_home=nowhere)

    def memory_oracle(self, plan: Plan, engine: Engine) -> dict[str, tuple[int, int, int]] | None:
        """What llama-fit-params says; `app.runtimes.memory_oracle.ask_memory` gives the reason for a `None`."""
        return memory_oracle.ask_memory(plan, engine).memory_bytes


def find_binaries() -> Iterator[tuple[Path, EngineOrigin]]:
    """Every llama.cpp server binary there may be, each file once, best first."""
    seen: set[Path] = set()
    for path, origin in _candidates():
        real = path.resolve()
        if real not in seen:
            seen.add(real)
            yield path, origin


def _candidates() -> Iterator[tuple[Path, EngineOrigin]]:
    if configured := os.environ.get(CONFIGURED):
        path = Path(configured).expanduser().absolute()
        # A configured path that is wrong must show as broken, so it is not looked up first.
        yield next(_servers_in(path), path / "llama-server") if path.is_dir() else path, "configured"
    for folder in sorted((data_dir() / "engines").glob("[!.]*/bin"), reverse=True):
        yield from ((path, "built") for path in _servers_in(folder))
    for name in ("llama-server", "llama"):
        if on_path := shutil.which(name):
            yield Path(on_path), "path"
    for place in _KNOWN_FOLDERS:
        yield from ((path, "known place") for path in _servers_in(Path(place).expanduser()))


def _servers_in(folder: Path) -> Iterator[Path]:
    """The server of a folder; the umbrella binary only where there is none of its own."""
    for name in ("llama-server", "llama"):
        path = folder / name
        if path.is_file() and os.access(path, os.X_OK):
            yield path
            return


def inspect(path: Path, origin: EngineOrigin, rpc: tuple[str, ...] = ()) -> Engine | BrokenEngine:
    """Ask one binary what it is. Never raises; bounded by the limits of `llama_probe`."""
    devices_argv = (*tool_argv(path, "serve"), *(("--rpc", ",".join(rpc)) if rpc else ()), "--list-devices")
    listing: list[Answer] = []
    asking = threading.Thread(target=lambda: listing.append(ask(devices_argv, DEVICES_LIMIT_S)), daemon=True)
    asking.start()
    identity = identify(path, "serve")
    asking.join()
    if isinstance(identity, Answer):
        return BrokenEngine(path, origin, identity.trouble, identity.hint)
    devices: tuple[EngineDevice, ...] = (CPU_DEVICE,)
    if "--list-devices" in identity.flags:
        if rpc and "--rpc" not in identity.flags:
            return BrokenEngine(path, origin, "It was built without RPC.", "Build one with `moetune runtime build`.")
        answer = listing[0]
        if answer.trouble:
            return BrokenEngine(path, origin, *_listing_trouble(answer, rpc))
        devices = parse_devices(answer.stdout)
    return Engine(
        runtime="llama_server",
        path=path,
        origin=origin,
        version=identity.version,
        backends=_backends(path, devices, identity.flags),
        devices=devices,
        flags=identity.flags,
        switches=identity.switches,
        tools=_tools(path),
    )


def _listing_trouble(answer: Answer, rpc: tuple[str, ...]) -> tuple[str, str]:
    """Why the devices could not be listed. An RPC server talks to one client at a time and lets others wait."""
    if answer.exit_code is None and rpc:
        servers = " or ".join(rpc)
        return (
            f"It waited more than {DEVICES_LIMIT_S:g} s for the RPC server {servers}.",
            "Such a server serves one engine at a time: stop the engine that uses it, or start the server again.",
        )
    return f"Its devices could not be listed. {answer.trouble}", answer.hint


def _backends(path: Path, devices: tuple[EngineDevice, ...], flags: frozenset[str]) -> tuple[str, ...]:
    """Backends with a device, and those whose library lies beside the binary though it has no device here."""
    libraries = {
        name
        for folder in (path.resolve().parent, path.resolve().parents[1] / "lib")
        for library, name in _BACKEND_LIBRARIES.items()
        if (folder / library).exists()
    }
    shown = backends_of(devices, flags)
    return (*shown, *sorted(libraries - set(shown)))


def _tools(path: Path) -> dict[str, Path]:
    """The sibling tools there are: files of their own, or words of the umbrella binary."""
    found = {}
    for name, word in TOOLS.items():
        own = path.parent / name
        if own.is_file() and os.access(own, os.X_OK):
            found[name] = own
        elif path.name == "llama" and word:
            found[name] = path
    return found
