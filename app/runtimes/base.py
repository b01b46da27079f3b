"""What an engine is to the rest of the program. Adding one touches neither the solver nor the UI."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from app.solver.plan import Plan

EngineOrigin = Literal["configured", "built", "path", "known place", "embedded", "assumed"]
"""`assumed`: not found, but what a machine that is elsewhere would have."""


@dataclass(frozen=True, slots=True)
class EngineDevice:
    """A device as an engine names it."""

    name: str
    """What `-dev` takes: `CUDA0`, `Vulkan1`, `RPC0`; `CPU` for the host."""
    buffer_type: str
    """What `-ot` takes; for RPC devices `RPC0[host:port]`, which is not the device's name."""
    description: str
    total_bytes: int | None
    free_bytes: int | None
    device_id: str | None
    """The detected device it is; `None` where no match was found."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine that was found, and what it can do."""

    runtime: str
    """Which runtime module speaks to it: `llama_server` or `embedded`."""
    path: Path
    """The server binary, or the Python that runs the embedded engine."""
    origin: EngineOrigin
    version: str
    """As it says itself, such as `0.5.0 (0c1e57098)`."""
    backends: tuple[str, ...]
    devices: tuple[EngineDevice, ...]
    flags: frozenset[str] = field(default=frozenset(), repr=False)
    """Every option that its `--help` knows, dashes included; empty: it was not asked."""
    switches: frozenset[str] = field(default=frozenset(), repr=False)
    """Those of `flags` that take no value: `-fa` was one until 2025."""
    tools: dict[str, Path] = field(default_factory=dict)
    """Sibling tools that were found: `llama-bench`, `llama-fit-params`, `ggml-rpc-server` ..."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command line that would run a plan."""

    argv: tuple[str, ...]
    env: dict[str, str]
    """Variables to set on top of the caller's environment."""
    unset: tuple[str, ...]
    """Variables to take out of it: they would change the plan silently."""
    url: str
    """Where the engine will answer, such as `http://127.0.0.1:8080`."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What an engine said in its log while it loaded. Bytes by the engine's buffer-type names."""

    weight_bytes: dict[str, int]
    kv_bytes: dict[str, int]
    compute_bytes: dict[str, int]
    splits: int | None
    """Graph splits at token generation: the cheapest check that a placement took effect."""


class Runtime(Protocol):
    """One kind of engine."""

    name: str

    def discover(self, rpc: tuple[str, ...] = ()) -> tuple[Engine, ...]:
        """Find every engine of this kind; an engine that cannot be asked is left out with a log line.

        Args:
            rpc: `host:port` of RPC servers that the engine should list as devices.
        """
        ...

    def command(self, plan: Plan, engine: Engine, *, port: int, host: str = "127.0.0.1") -> Command:
        """The command that executes `plan`. Pure.

        Raises:
            NoEngineError: the engine lacks what the plan needs; the message names it.
        """
        ...

    def memory_oracle(self, plan: Plan, engine: Engine) -> dict[str, tuple[int, int, int]] | None:
        """Ask the engine what `plan` would take: device id -> (weights, KV, compute) bytes; `None`: it cannot tell."""
        ...
