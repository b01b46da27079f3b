"""llama.cpp as ctypes: the bindings of llama-cpp-python, and the few ggml functions that it does not bind."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from collections import deque
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import ModuleType

DEBUG, INFO, WARN, ERROR, CONTINUED = 1, 2, 3, 4, 5
"""ggml's log levels (`enum ggml_log_level` of ggml.h)."""

_DEVICE_TYPES = ("cpu", "gpu", "igpu", "accel", "meta")


@dataclass(frozen=True, slots=True)
class GgmlDevice:
    """A device as ggml lists it."""

    handle: int
    name: str
    buffer_type: str
    buffer_handle: int
    description: str
    kind: str
    """`cpu`, `gpu`, `igpu`, `accel` or `meta`."""
    pci: str | None
    """`0000:c1:00.0`, lower case; `None` where the backend does not say."""
    total_bytes: int
    free_bytes: int


@cache
def llama() -> ModuleType:
    """The ctypes bindings of libllama.

    The package's own `__init__` also imports numpy, jinja2 and its high-level class (0.3 to 0.9 s); the bindings
    alone take 0.03 s. So a bare package object stands in for it while the one module is loaded.

    Raises:
        ImportError: llama-cpp-python is not installed, or its libraries cannot be loaded.
    """
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise ImportError("llama-cpp-python is not installed")
        package = ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["llama_cpp"] = package
    try:
        bindings = import_module("llama_cpp.llama_cpp")
    except (RuntimeError, OSError) as error:
        raise ImportError(f"llama-cpp-python cannot load its libraries: {error}") from error
    # ctypes takes an unknown field for a new Python attribute, and llama.cpp would never see it.
    for struct, name in (("llama_model_params", "load_mode"), ("llama_context_params", "n_outputs_max")):
        if not hasattr(getattr(bindings, struct), name):
            raise ImportError(f"llama-cpp-python is too old ({struct} has no {name}): 0.3.36 is needed")
    return bindings


@cache
def ggml() -> ctypes.CDLL:
    """The ggml library with the prototypes of the device functions."""
    llama()
    library: ctypes.CDLL = import_module("llama_cpp._ggml").libggml
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, arguments in (
        ("ggml_backend_dev_count", size, ()),
        ("ggml_backend_dev_get", pointer, (size,)),
        ("ggml_backend_dev_buffer_type", pointer, (pointer,)),
        ("ggml_backend_dev_get_props", None, (pointer, pointer)),
        ("ggml_backend_buft_name", text, (pointer,)),
        ("ggml_backend_reg_count", size, ()),
        ("ggml_backend_reg_get", pointer, (size,)),
        ("ggml_backend_reg_name", text, (pointer,)),
        ("ggml_version", text, ()),
        ("ggml_commit", text, ()),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class _Properties(ctypes.Structure):
    """`ggml_backend_dev_props`; the tail stands for the capabilities, which may grow."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("tail", ctypes.c_byte * 256),
    ]


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace").strip()


def devices() -> tuple[GgmlDevice, ...]:
    """Every device that the loaded backends offer, the CPU included."""
    library = ggml()
    found = []
    for index in range(library.ggml_backend_dev_count()):
        handle = library.ggml_backend_dev_get(index)
        properties = _Properties()
        library.ggml_backend_dev_get_props(handle, ctypes.byref(properties))
        buffer_handle = library.ggml_backend_dev_buffer_type(handle)
        kind = properties.type
        found.append(
            GgmlDevice(
                handle=handle,
                name=_text(properties.name),
                buffer_type=_text(library.ggml_backend_buft_name(buffer_handle)),
                buffer_handle=buffer_handle,
                description=_text(properties.description),
                kind=_DEVICE_TYPES[kind] if 0 <= kind < len(_DEVICE_TYPES) else "meta",
                pci=_text(properties.device_id).lower() or None,
                total_bytes=properties.memory_total,
                free_bytes=properties.memory_free,
            )
        )
    return tuple(found)


def backends() -> tuple[str, ...]:
    """The names of the backends that this build has, such as `CUDA` and `CPU`."""
    library = ggml()
    count = library.ggml_backend_reg_count()
    return tuple(_text(library.ggml_backend_reg_name(library.ggml_backend_reg_get(index))) for index in range(count))


def build_text() -> str:
    """Which llama.cpp is inside, such as `ggml 0.25.3 (0c1e570)`."""
    library = ggml()
    return f"ggml {_text(library.ggml_version())} ({_text(library.ggml_commit()).removesuffix('-dirty')})"


class LogRouter:
    """Sends llama.cpp's log to stderr, without its debug lines, and remembers the errors.

    Written to the file descriptor at once: the parent reads the load report while the engine may still crash.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.errors: deque[str] = deque(maxlen=8)
        self._level = INFO
        self._quiet = quiet
        self._callback = llama().llama_log_callback(self._route)  # must outlive every call into llama.cpp
        llama().llama_log_set(self._callback, None)

    def _route(self, level: int, text: bytes, _data: object) -> None:
        if level != CONTINUED:
            self._level = level
        if self._level == DEBUG:
            return
        if self._level == ERROR and (line := _text(text)):
            self.errors.append(line)
        if not self._quiet:
            os.write(2, text)

    def first_error(self) -> str:
        """llama.cpp's first error line: the cause; those after it are consequences."""
        return self.errors[0] if self.errors else ""
