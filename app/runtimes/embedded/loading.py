"""From the options to a loaded model with its context, through llama.cpp's low-level parameters."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from app.errors import ExitCode
from app.runtimes.embedded.bindings import GgmlDevice, LogRouter, devices, llama
from app.runtimes.embedded.options import Options

_LOAD_MODES = {"auto": -1, "none": 0, "mmap": 1, "mlock": 2, "mmap+mlock": 3, "dio": 4}
"""`enum llama_load_mode` of llama.h."""
_FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}


class LoadError(Exception):
    """The model or its context could not be had.

    Args:
        message: one line.
        exit_code: what the process should end with.
    """

    def __init__(self, message: str, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Override(ctypes.Structure):
    """`llama_model_tensor_buft_override`, which the bindings leave out."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p)]


@dataclass(slots=True)
class Loaded:
    """A model that is in memory. Pointers of llama.cpp, and the arrays that they point into."""

    model: int
    context: int
    vocabulary: int
    context_tokens: int
    ubatch: int
    window: int
    """Sliding window in tokens, 0 without one."""
    kept: list[object] = field(default_factory=list, repr=False)


def _find(name: str, known: tuple[GgmlDevice, ...]) -> GgmlDevice:
    for device in known:
        if device.name == name and device.kind != "cpu":
            return device
    names = ", ".join(device.name for device in known if device.kind != "cpu") or "none"
    raise LoadError(f"invalid device: {name} (this build has: {names})", ExitCode.USAGE)


def _buffer_handle(name: str, known: tuple[GgmlDevice, ...]) -> int:
    for device in known:
        if device.buffer_type == name:
            return device.buffer_handle
    names = ", ".join(dict.fromkeys(device.buffer_type for device in known))
    # llama-server's words for both, which the parent knows how to explain.
    message = f'error while handling argument "-ot": unknown buffer type {name} (this build has: {names})'
    raise LoadError(message, ExitCode.USAGE)


def model_params(options: Options, kept: list[object]) -> ctypes.Structure:
    """llama.cpp's model parameters for `options`; what they point to is appended to `kept`.

    Raises:
        LoadError: a device or buffer type that this build does not have.
    """
    known = devices()
    params: ctypes.Structure = llama().llama_model_default_params()
    params.n_gpu_layers = options.gpu_layers
    params.load_mode = _LOAD_MODES[options.load_mode]
    if options.devices is not None:
        handles = [_find(name, known).handle for name in options.devices]
        device_list = (ctypes.c_void_p * (len(handles) + 1))(*handles, None)
        params.devices = ctypes.cast(device_list, ctypes.c_void_p)
        kept.append(device_list)
    if options.tensor_split:
        most = llama().llama_max_devices()
        if len(options.tensor_split) > most:
            raise LoadError(f"-ts has {len(options.tensor_split)} shares, at most {most}", ExitCode.USAGE)
        shares = (ctypes.c_float * most)(*options.tensor_split)
        params.tensor_split = shares
        kept.append(shares)
    if options.overrides:
        pairs = [_Override(p.encode(), _buffer_handle(name, known)) for p, name in options.overrides]
        overrides = (_Override * (len(pairs) + 1))(*pairs, _Override(None, None))
        params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        kept.append(overrides)
    return params


def context_params(options: Options) -> ctypes.Structure:
    """llama.cpp's context parameters for `options`, one sequence, chosen as llama-server chooses them."""
    bindings = llama()
    params: ctypes.Structure = bindings.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = options.context, options.batch, options.ubatch
    params.n_seq_max = 1
    # Only the last token's logits are ever read; the default reserves a row for each token of a batch.
    params.n_outputs_max = 1
    params.n_threads, params.n_threads_batch = options.threads, options.threads_batch
    params.flash_attn_type = _FLASH_ATTENTION[options.flash_attention]
    params.type_k = getattr(bindings, f"GGML_TYPE_{options.type_k.upper()}")
    params.type_v = getattr(bindings, f"GGML_TYPE_{options.type_v.upper()}")
    params.swa_full = False
    return params


def load(options: Options, log: LogRouter, on_progress: Callable[[float], None]) -> Loaded:
    """Load the model and make its context. Blocks until done.

    Args:
        options: how.
        log: where llama.cpp's messages go; its errors become part of ours.
        on_progress: called with 0.0 to 1.0 while the weights are read.

    Raises:
        LoadError: a device, buffer type or model that cannot be used, or too little memory.
    """
    bindings = llama()
    kept: list[object] = []
    params = model_params(options, kept)

    def progress(share: float, _data: object) -> bool:
        on_progress(share)
        return True

    callback = bindings.llama_progress_callback(progress)
    kept.append(callback)
    params.progress_callback = callback
    model = bindings.llama_model_load_from_file(os.fsencode(options.model), params)
    if not model:
        raise _refusal(f"the model {options.model} cannot be loaded", log, ExitCode.MODEL)
    if bindings.llama_model_has_encoder(model):
        raise LoadError(f"the model {options.model} has an encoder: it cannot be run here", ExitCode.MODEL)
    context = bindings.llama_init_from_model(model, context_params(options))
    if not context:
        raise _refusal("the context cannot be made", log, ExitCode.FAILED)
    loaded = Loaded(
        model=model,
        context=context,
        vocabulary=bindings.llama_model_get_vocab(model),
        context_tokens=bindings.llama_n_ctx(context),
        ubatch=options.ubatch,
        window=bindings.llama_model_n_swa(model),
        kept=kept,
    )
    if options.warmup:
        _warm_up(loaded)
    return loaded


def _refusal(what: str, log: LogRouter, otherwise: ExitCode) -> LoadError:
    out_of_memory = any("alloc" in line for line in log.errors)
    reason = log.first_error() or "llama.cpp gave no reason"
    return LoadError(f"{what}: {reason}", ExitCode.NO_FIT if out_of_memory else otherwise)


def _warm_up(loaded: Loaded) -> None:
    """One empty run that touches every weight, all experts included, so that the first request is not slow."""
    bindings = llama()
    first = max(bindings.llama_vocab_bos(loaded.vocabulary), 0)
    bindings.llama_set_warmup(loaded.context, True)
    bindings.llama_decode(loaded.context, bindings.llama_batch_get_one((ctypes.c_int32 * 1)(first), 1))
    bindings.llama_memory_clear(bindings.llama_get_memory(loaded.context), True)
    bindings.llama_synchronize(loaded.context)
    bindings.llama_set_warmup(loaded.context, False)
