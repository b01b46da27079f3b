"""How a row's engine ran: threads, cache type, ubatch, and which engine and build it was."""

from __future__ import annotations

import re
from typing import cast, get_args

from app.solver.model import KvType
from app.solver.plan import KtParameters, Parameters
from app.solver.scene import Engine
from detectors.facts import Machine
from tests.benchmarks.rows.source import Cells, cell, number

_DEFAULT_UBATCH = 512
_DEFAULT_BATCH = 2048
_METHOD = re.compile(r"--kt-method\s+(\w+)")


def engine_of(cells: Cells) -> Engine:
    """Runtime, backend, driver and date of the build."""
    runtime, backend = cells.get("runtime", "").lower(), cells.get("backend", "").lower()
    kind = "llama.cpp"
    if runtime.startswith("ik_llama"):
        kind = "ik_llama.cpp"
    elif "ktransformers" in runtime:
        kind = "ktransformers"
    elif runtime.startswith("vllm"):
        kind = "vllm"
    names = {
        "cuda": "cuda", "rocm": "rocm", "hip": "rocm", "vulkan": "vulkan", "radv": "vulkan", "sycl": "sycl",
        "metal": "metal",
    }  # fmt: skip
    family = next((name for word, name in names.items() if word in f"{backend} {runtime if not backend else ''}"), "")
    driver = next((word for word in ("radv-performance", "radv", "amdvlk") if word in backend), "")
    release = re.search(r"mesa\s*([\d.]+)", f"{backend} {cells.get('notes', '').lower()}")
    if "rocwmma" in backend and "no rocwmma" not in backend and "tuned" not in backend:
        driver = "rocwmma"
    return Engine(
        kind,
        "cpu" if backend == "cpu" else family,
        driver or (f"mesa {release[1]}" if release else ""),
        cells.get("date", "")[:10],
    )


def parameters_of(cells: Cells, machine: Machine, context: int) -> Parameters:
    """The runtime parameters that the row states; the engine's defaults for the others."""
    flags, notes = cells.get("flags", ""), cells.get("notes", "")
    stated = re.match(r"\d+", cells.get("threads", ""))
    cpu = machine.cpu
    default = (cpu.decode_threads or cpu.physical_cores or cpu.logical_cpus) if cpu is not None else None
    threads = int(stated[0]) if stated and int(stated[0]) else (default or 8)
    batch_threads = re.search(r"tb(\d+)", cells.get("threads", ""))
    swept = number(cells.get("prompt_tokens", "")) if cells.get("runtime", "").startswith("ik_llama") else None
    ubatch = int(number(cell(cells, "ubatch")) or _flag(flags, r"-ub\s+(\d+)") or swept or _DEFAULT_UBATCH)
    parallel = int(number(cells.get("batch", "")) or 1) if cells.get("agg_tps") else 1
    kv = _kv_types(cells.get("kv_type", ""), flags)
    return Parameters(
        context=max(context, 256),
        parallel=parallel,
        ubatch=ubatch,
        batch=max(ubatch, _DEFAULT_BATCH),
        kv_type_k=kv[0],
        kv_type_v=kv[1],
        flash_attention=_flash(cells.get("fa", ""), flags, notes),
        load_mode=_load_mode(flags, notes, cells.get("placement_class", "")),
        threads=threads,
        threads_batch=int(batch_threads[1]) if batch_threads else threads,
        no_host=_stays_on_the_cpu(cells, flags, notes),
        op_offload=_copies(cells, flags, notes),
        numa="distribute" if "numa" in f"{cells.get('cpu', '')} {flags}".lower() else "",
        kt=_kt(cells, threads),
    )


def _load_mode(flags: str, notes: str, kind: str) -> str:
    """How the weights are loaded: mapped, as llama.cpp does by itself, unless the row says that they are not."""
    if not kind.startswith("hybrid") or re.search(r"-mmp 0|no-mmap|REGISTER_HOST|load-mode none", flags):
        return "none"
    return "none" if re.search(r"no-mmap|(?<!un)pinned", notes) else "mmap"


def _copies(cells: Cells, flags: str, notes: str) -> bool:
    """Whether large batches are computed on the GPU; ik_llama.cpp's since its PR 405, May 2025."""
    early = cells.get("runtime", "").startswith("ik_llama") and cells.get("date", "9") < "2025-05-12"
    return not (early or "no-op-offload" in flags or "offload policy OFF" in notes or "-op 26" in flags)


def _stays_on_the_cpu(cells: Cells, flags: str, notes: str) -> bool:
    """Whether the CPU's weights have a layout that no GPU computes: repacked, or rows interleaved in the file.

    ik_llama.cpp's own types with interleaved rows (IQ*_R4) are computed on the GPU too since June 2025 (PR 492 to 559).
    """
    if "--no-host" in flags or "-rtr" in flags or re.search(r"(?<!no )(?<!without )-rtr", notes):
        return True
    quant = cells.get("quant", "")
    late = cells.get("date", "") >= "2025-06" and "PP on CPU" not in notes
    return "_R4" in quant and not (late and quant.startswith("IQ"))


def _flash(cell_text: str, flags: str, notes: str) -> bool:
    if cell_text:
        return cell_text.lower() not in ("0", "off", "false", "no")
    return not re.search(r"-fa\s+(0|off)", f"{flags} {notes}")


def _flag(flags: str, pattern: str) -> float | None:
    match = re.search(pattern, flags)
    return float(match[1]) if match else None


def _kv_types(text: str, flags: str) -> tuple[KvType, KvType]:
    known = get_args(KvType)
    stated = [word for word in re.split(r"[/ ,()]+", text.lower()) if word in known]
    keys = re.search(r"-ctk\s+(\w+)", flags)
    values = re.search(r"-ctv\s+(\w+)", flags)
    if not stated and keys and keys[1] in known:
        stated = [keys[1], values[1] if values and values[1] in known else keys[1]]
    if not stated:
        return "f16", "f16"
    return cast(KvType, stated[0]), cast(KvType, stated[-1])


def _layerwise_from(cells: Cells, flags: str) -> int:
    """Tokens from which a prompt is computed layer by layer on the GPU; kt-kernel's guides have 400, earlier none."""
    stated = re.search(r"--kt-gpu-prefill-token-threshold\s+(\d+)", flags)
    if stated:
        return int(stated[1])
    return 400 if "kt-kernel" in cells.get("runtime", "").lower() else 0


def _kt(cells: Cells, threads: int) -> KtParameters | None:
    if "ktransformers" not in cells.get("runtime", "").lower():
        return None
    flags, words = cells.get("flags", ""), cells.get("placement", "")
    method = _METHOD.search(flags)
    quant = cells.get("quant", "").upper()
    named = (
        method[1] if method else next((name for name in ("AMXINT4", "AMXINT8", "RAWINT4", "FP8") if name in quant), "")
    )
    if not named:
        named = "AMXINT8" if "INT8" in quant or "AMX" in cells.get("backend", "") else "LLAMAFILE"
    resident = re.search(r"gpu-experts[= ](\d+)", f"{words} {flags}")
    return KtParameters(
        method=named,
        cpu_threads=threads,
        pools=2 if "2x" in cells.get("cpu", "").lower() or "dual" in f"{cells.get('cpu', '')} {flags}".lower() else 1,
        resident_experts=int(resident[1]) if resident else 0,
        chunked_prefill=32768,
        tensor_parallel=int(gpus[1]) if (gpus := re.match(r"(\d+)x", cells.get("gpu", ""))) else 1,
        gpu_prefill_tokens=_layerwise_from(cells, flags),
    )
