"""From a plan to llama.cpp's arguments. Pure: what is not in the plan or the engine does not decide anything here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import accumulate, pairwise
from pathlib import Path

from app.errors import NoEngineError
from app.runtimes.base import Command, Engine, EngineDevice
from app.runtimes.layer_pattern import numbers_pattern
from app.runtimes.llama_flags import Dialect
from app.solver.plan import Placement, Plan
from app.units import MIB

EXPERT_TENSORS = r"ffn_(up|down|gate|gate_up)_(ch|)exps"
"""Every routed expert of llama.cpp's architectures, biases and scales included; never a shared expert."""

ALL_LAYERS = "999"
"""Takes every layer and the output head in any version; `all` is younger."""

_RPC_ENDPOINT = re.compile(r"^RPC\d+\[(.+)\]$")


def endpoint_of(device: EngineDevice) -> str | None:
    """`host:port` of an RPC device, `None` for any other."""
    match = _RPC_ENDPOINT.match(device.buffer_type)
    return match[1] if match else None


def engine_device(engine: Engine, device_id: str) -> EngineDevice:
    """The engine's own device for a detected one.

    Raises:
        NoEngineError: the engine cannot compute on that device.
    """
    for device in engine.devices:
        if device.device_id == device_id:
            return device
    backends = ", ".join(engine.backends) or "none"
    raise NoEngineError(
        f"llama.cpp {engine.version} at {engine.path} cannot compute on {device_id}; its backends: {backends}.",
        hint="Build one that can with `moetune runtime build --backend ...`, or leave that device out of the plan.",
    )


def tensor_overrides(placement: Placement, engine: Engine) -> tuple[str, ...]:
    """One `pattern=buffer type` for each device that holds experts away from their attention.

    Where one device has the experts of every layer, the pattern needs no layers at all.
    """
    overrides = []
    for device_id in placement.devices:
        layers = placement.expert_layers(device_id)
        layers = tuple(layer for layer in layers if placement.attention[layer] != device_id)
        if not layers:
            continue
        prefix = "" if len(layers) == len(placement.experts) else f"blk\\.({numbers_pattern(layers)})"
        buffer_type = engine_device(engine, device_id).buffer_type
        overrides.append(f"{prefix}\\.{EXPERT_TENSORS}={buffer_type}")
    return tuple(overrides)


def layer_division(placement: Placement, nextn_layers: int) -> tuple[str, str]:
    """`-ngl` and the shares of `-ts` that give every device with attention its own block of layers.

    llama.cpp counts layers from the end, NextN layers and the output head included. Of those on devices it gives layer
    i of n to the first device whose share, summed up, exceeds i / n (`src/llama-model.cpp`). So each sum is put half a
    layer before the block's end, where no rounding can move a layer; the head, last, goes with the last block.

    Args:
        placement: with attention on the host or on devices, in blocks.
        nextn_layers: layers at the end of the file that are not among the placement's.
    """
    blocks = [(device, len(placement.attention_layers(device))) for device in placement.attention_devices]
    on_host = sum(count for device, count in blocks if device == "cpu")
    on_devices = [count for device, count in blocks if device != "cpu"]
    if not on_devices:
        return "0", ""
    if len(on_devices) == 1 and not on_host:
        return ALL_LAYERS, "1"
    counted = len(placement.attention) - on_host + nextn_layers + 1
    ends = [end - 0.5 for end in accumulate(on_devices[:-1])]
    shares = [right - left for left, right in pairwise((0.0, *ends, float(counted)))]
    return str(counted), ",".join(f"{share:g}" for share in shares)


def placement_arguments(
    placement: Placement, engine: Engine, dialect: Dialect, *, nextn_layers: int = 0
) -> tuple[str, ...]:
    """`--rpc -dev -ts -ngl -ot`: where everything goes.

    Devices with a share of 0 have no layers, no cache and no head: they are targets of `-ot` alone. All RPC servers
    that the engine was asked with are named again, since their order numbers them.
    """
    used = [engine_device(engine, device_id) for device_id in placement.devices if device_id != "cpu"]
    arguments: list[str] = []
    if any(endpoint_of(device) for device in used):
        servers = dict.fromkeys(filter(None, map(endpoint_of, engine.devices)))
        arguments += dialect.need("--rpc", ",".join(servers))
    arguments += dialect.need("-dev", ",".join(device.name for device in used) or "none")
    layers, shares = layer_division(placement, nextn_layers)
    if shares and len(used) > 1:
        idle = len(used) - len(shares.split(","))
        arguments += dialect.need("-ts", ",".join((shares, *("0" for _ in range(idle)))))
    arguments += dialect.need("-ngl", layers)
    if overrides := tensor_overrides(placement, engine):
        arguments += dialect.need("-ot", ",".join(overrides))
    return tuple(arguments)


def memory_arguments(plan: Plan, engine: Engine, dialect: Dialect) -> tuple[str, ...]:
    """Everything that decides how many bytes go where: what the server and its memory oracle are asked alike."""
    p = plan.parameters
    return (
        *dialect.need("-m", plan.model_path),
        *placement_arguments(plan.placement, engine, dialect, nextn_layers=plan.nextn_layers),
        *dialect.placement_as_given(),
        *dialect.need("-c", str(p.context)),
        *dialect.need("-b", str(p.batch)),
        *dialect.need("-ub", str(p.ubatch)),
        *dialect.flash_attention(p.flash_attention),
        *dialect.need("-ctk", p.kv_type_k),
        *dialect.need("-ctv", p.kv_type_v),
        *dialect.load_mode(p.load_mode),
        *(dialect.need("--no-host") if p.no_host else ()),
        *(() if p.op_offload else dialect.need("--no-op-offload")),
        *dialect.need("-np", str(p.parallel)),
    )


def tool_argv(path: Path, word: str) -> tuple[str, ...]:
    """How to start a tool: by itself, or as a word of the umbrella binary `llama`."""
    return (str(path), word) if path.name == "llama" else (str(path),)


def server_command(
    plan: Plan,
    engine: Engine,
    *,
    port: int,
    host: str,
    config_home: Path,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """The command that serves `plan`.

    Args:
        plan: what to run.
        engine: with what.
        port: where it is to listen.
        host: address it is to bind.
        config_home: a folder without `llama.cpp/config.ini`; the engine would read options from it.
        environment: the caller's variables, `os.environ` unless given; `LLAMA_ARG_*` among them would change the plan.

    Raises:
        NoEngineError: the engine lacks an option or a device that the plan needs.
    """
    dialect = Dialect.of(engine)
    p = plan.parameters
    argv = (
        *tool_argv(engine.path, "serve"),
        *memory_arguments(plan, engine, dialect),
        *dialect.need("-t", str(p.threads)),
        *dialect.need("-tb", str(p.threads_batch)),
        *(dialect.if_known("--numa", p.numa) if p.numa else ()),
        *(() if p.cache_ram_bytes is None else dialect.if_known("-cram", str(p.cache_ram_bytes // MIB))),
        *(_drafting(dialect, p.draft_tokens) if p.draft_tokens else ()),
        *dialect.if_known("--metrics"),
        *dialect.if_known("--slots"),
        *dialect.load_details(),
        *dialect.need("--host", host),
        *dialect.need("--port", str(port)),
    )
    names = os.environ if environment is None else environment
    return Command(
        argv=argv,
        env={"XDG_CONFIG_HOME": str(config_home)},
        unset=tuple(sorted(name for name in names if name.startswith("LLAMA_ARG_"))),
        url=f"http://{_reachable(host)}:{port}",
    )


def _drafting(dialect: Dialect, tokens: int) -> tuple[str, ...]:
    """The model's own NextN layers draft that many tokens a step."""
    return (*dialect.need("--spec-type", "draft-mtp"), *dialect.need("--spec-draft-n-max", str(tokens)))


def _reachable(host: str) -> str:
    """The address a client on this machine uses for a server bound to `host`."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
