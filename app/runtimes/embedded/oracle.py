"""What a placement would take, asked of llama.cpp itself without loading a weight.

`python -m app.runtimes.embedded.oracle ARGUMENTS` takes the engine's own options, makes the model and its context
with `no_alloc` (sizes are computed, nothing is allocated) and prints, by buffer type, the bytes of weights, of KV
cache and of compute buffers as JSON. It runs in a process of its own because a placement that llama.cpp finds
impossible aborts it.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Sequence

from app.runtimes.embedded.bindings import LogRouter, ggml, llama
from app.runtimes.embedded.loading import LoadError, context_params, model_params
from app.runtimes.embedded.options import Options, parse

_BREAKDOWN = "_Z26llama_get_memory_breakdownPK13llama_context"
"""`llama_get_memory_breakdown` of llama-ext.h: exported, but it returns a `std::map` and so has a C++ name."""


class _Map(ctypes.Structure):
    """libstdc++'s `std::map`: a comparator, then the header of a red-black tree whose parent link is the root."""

    _fields_ = [
        ("compare", ctypes.c_void_p),
        ("color", ctypes.c_void_p),
        ("root", ctypes.c_void_p),
        ("leftmost", ctypes.c_void_p),
        ("rightmost", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
    ]


class _Node(ctypes.Structure):
    """A node of that tree: the buffer type and llama_memory_breakdown_data."""

    _fields_ = [
        ("color", ctypes.c_void_p),
        ("parent", ctypes.c_void_p),
        ("left", ctypes.c_void_p),
        ("right", ctypes.c_void_p),
        ("buffer_type", ctypes.c_void_p),
        ("model", ctypes.c_size_t),
        ("context", ctypes.c_size_t),
        ("compute", ctypes.c_size_t),
    ]


class UnknownLayoutError(Exception):
    """This build's figures cannot be read."""


def _nodes(address: int | None, most: int) -> Iterator[_Node]:
    """The nodes below and with `address`, in order; stops with an error after more than the map says it has."""
    pending, seen = [address] if address else [], 0
    while pending:
        node = _Node.from_address(pending.pop())
        seen += 1
        if seen > most:
            raise UnknownLayoutError("the memory breakdown of this llama.cpp has another layout")
        yield node
        pending += [link for link in (node.left, node.right) if link]
    if seen != most:
        raise UnknownLayoutError("the memory breakdown of this llama.cpp has another layout")


def breakdown(context: int) -> dict[str, list[int]]:
    """Bytes of weights, KV cache and compute buffers by buffer-type name.

    Raises:
        UnknownLayoutError: this build does not export the figures, or not in the known layout.
    """
    function = getattr(llama()._lib, _BREAKDOWN, None)
    if function is None or not sys.platform.startswith("linux"):
        raise UnknownLayoutError("this llama.cpp does not tell its memory breakdown")
    # A struct of this size comes back through memory, just as a C++ object with a destructor does.
    function.restype, function.argtypes = _Map, [ctypes.c_void_p]
    found = function(context)
    rows: dict[str, list[int]] = {}
    for node in _nodes(found.root, found.count):
        name = ggml().ggml_backend_buft_name(node.buffer_type).decode()
        row = rows.setdefault(name, [0, 0, 0])
        for index, value in enumerate((node.model, node.context, node.compute)):
            row[index] += value
    return rows


def measure(options: Options) -> dict[str, list[int]]:
    """The breakdown for `options`.

    Raises:
        LoadError: the model or its context cannot be made.
        UnknownLayoutError: the figures cannot be read.
    """
    log = LogRouter(quiet=True)
    llama().llama_backend_init()
    kept: list[object] = []
    params = model_params(options, kept)
    params.no_alloc, params.load_mode = True, llama().LLAMA_LOAD_MODE_NONE
    model = llama().llama_model_load_from_file(os.fsencode(options.model), params)
    if not model:
        raise LoadError(log.first_error() or "the model cannot be read")
    context = llama().llama_init_from_model(model, context_params(options))
    if not context:
        raise LoadError(log.first_error() or "the context cannot be made")
    return breakdown(context)


def main(argv: Sequence[str]) -> int:
    """Print the figures."""
    try:
        rows = measure(parse(argv))
    except (LoadError, UnknownLayoutError, ImportError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(json.dumps(rows) + "\n")
    return 0


if __name__ == "__main__":
    ending = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ending)  # what was simulated need not be freed
