"""The words of `moetune host` and `moetune rpc-serve`."""

from __future__ import annotations

import argparse


def add_host(parser: argparse.ArgumentParser) -> None:
    """What `moetune host` takes."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make one known: its server is asked, and the way to it measured")
    add.add_argument("where", metavar="HOST[:PORT]", help="name or IPv4 address (default port 50052)")
    add.add_argument("--name", metavar="NAME", help="what to call it (default: HOST)")
    add.add_argument("--always", action="store_true", help="use it in every plan, where it answers")
    listing = actions.add_parser("list", help="those known, what they lend, and how far away they are")
    listing.add_argument("--no-ask", action="store_true", help="what is known of them, without asking them")
    for one in (add, listing):
        one.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    remove = actions.add_parser("remove", help="forget one")
    remove.add_argument("name", metavar="NAME", help="its name, or host:port")


def add_rpc_serve(parser: argparse.ArgumentParser) -> None:
    """What `moetune rpc-serve` takes."""
    parser.add_argument("--listen", metavar="ADDRESS[:PORT]", default="127.0.0.1",
                        help="IPv4 address of this machine that others reach it at (default 127.0.0.1:50052)"
                        )  # fmt: skip
    parser.add_argument("--every-address", action="store_true",
                        help="listen on all addresses, whoever can reach them; --listen then gives the port alone"
                        )  # fmt: skip
    parser.add_argument("--device", type=_names, default=(), metavar="A,B",
                        help="lend only these, by the engine's names")  # fmt: skip
    parser.add_argument("--threads", type=_positive, metavar="N",
                        help="CPU threads that work for others (default: physical cores)")  # fmt: skip
    parser.add_argument("--engine", metavar="PATH", help="the llama-server whose ggml-rpc-server to use")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be 1 or more")
    return int(text)
