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
