"""`moetune rpc-serve`: lend this machine's devices to an engine on another host."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

from app.cli.output import narrate
from app.cli.signals import run_until_signal
from app.errors import ExitCode, NoEngineError, PortInUseError, UsageError
from app.jobs.checking import known_machine
from app.jobs.hosts import DEFAULT_PORT
from app.launch.port import check_port
from app.launch.rpc_server import keep_serving
from app.runtimes.base import Engine
from app.runtimes.registry import engine_at, find_engines

TOOL = "ggml-rpc-server"
EVERYWHERE = "0.0.0.0"
"""Refused without --every-address."""
_WARNING = (
    "The protocol has neither authentication nor encryption: whoever reaches {0} can use this machine's memory and"
    " read what others compute here. Let only hosts that you trust reach it (a firewall, a network of its own, SSH or"
    " WireGuard)."
)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    host, port = _address(arguments.listen, everywhere=arguments.every_address)
    engine = _engine(arguments.engine)
    _check_devices(arguments.device, engine)
    try:
        check_port(f"http://{host}:{port}")
    except PortInUseError as error:
        raise PortInUseError(
            error.message, hint=f"Choose another one, such as --listen {host}:{port + 1}, or end that program."
        ) from error
    machine = known_machine()
    threads = arguments.threads or (machine.cpu.physical_cores or machine.cpu.logical_cpus if machine.cpu else 1)
    argv = [str(engine.tools[TOOL]), "-H", host, "-p", str(port), "-t", str(threads)]
    if arguments.device:
        argv += ["-d", ",".join(arguments.device)]
    return run_until_signal(_serve(argv, host, port))


async def _serve(argv: list[str], host: str, port: int) -> int:
    narrate(f"serving at {host}:{port} with {argv[0]}")
    loopback = ipaddress.ip_address(host).is_loopback
    if loopback:
        narrate("Only this machine reaches it there: --listen ADDRESS names the address that others use.")
    narrate(_WARNING.format("it" if loopback else f"{host}:{port}" if host != EVERYWHERE else f"port {port}"))
    if not loopback:
        where = "THIS-HOST" if host == EVERYWHERE else host
        narrate(f"On the other host: moetune host add {where}:{port}")
    narrate("Ctrl-C stops it")
    await keep_serving(argv, lambda line: narrate(f"  {line}") if line.strip() else None)
    return ExitCode.OK


def _address(listen: str, *, everywhere: bool) -> tuple[str, int]:
    host, _, port = listen.rpartition(":") if ":" in listen else (listen, "", str(DEFAULT_PORT))
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"{listen!r} is no address to listen on.", hint=f"Write 192.168.1.20:{DEFAULT_PORT}.")
    try:
        address = ipaddress.IPv4Address(host or EVERYWHERE)
    except ValueError as error:
        raise UsageError(
            f"{host!r} is no IPv4 address; the server takes no names and no IPv6.",
            hint="`ip -4 address` shows those of this machine.",
        ) from error
    if everywhere:
        return EVERYWHERE, int(port)
    if address.is_unspecified:
        raise UsageError(
            "That would listen on every address of this machine, for whoever can reach any of them.",
            hint="Name the one that the other host uses, or say --every-address.",
        )
    return str(address), int(port)


def _engine(path: str | None) -> Engine:
    engines = (engine_at(Path(path)),) if path else find_engines()
    for engine in engines:
        if TOOL in engine.tools:
            return engine
    raise NoEngineError(f"No engine was found that has {TOOL} beside it.", hint="`moetune runtime build` builds one.")


def _check_devices(asked: tuple[str, ...], engine: Engine) -> None:
    known = [device.name for device in engine.devices]
    for name in asked:
        if name not in known:
            raise UsageError(f"The engine has no device {name!r}.", hint=f"Its devices are: {', '.join(known)}.")
