"""The KV formula gives the figures that llama.cpp itself reports."""

from __future__ import annotations

from app.solver.memory import kv_bytes, layer_kv_bytes, weight_bytes
from app.solver.model import KvType, LayerShape
from app.solver.plan import Parameters, Placement
from app.units import MIB
from tests.solver.machines import dense, gpt_oss_120b


def parameters(context: int, *, parallel: int = 1, ubatch: int = 512, kv: KvType = "f16") -> Parameters:
    return Parameters(context, parallel, ubatch, 2048, kv, kv, True, "mmap", 8, 8)


def test_gpt_oss_at_128k_is_what_llama_cpp_allocates() -> None:
    # 18 full layers x 131072 cells x 2 x 8 x 64 x 2 B = 4608 MiB; 18 window layers x pad256(128 + 512) = 768 cells.
    shape = gpt_oss_120b()
    full = sum(layer_kv_bytes(layer, 128, parameters(131072)) for layer in shape.layers if layer.kind == "full")
    window = sum(layer_kv_bytes(layer, 128, parameters(131072)) for layer in shape.layers if layer.kind == "swa")
    assert full == 4608 * MIB
    assert window == 18 * 768 * 2 * 8 * 64 * 2
    placement = Placement.on("gpu:a", ("cpu",) * len(shape.layers))
    assert kv_bytes(shape, placement, parameters(131072)) == {"gpu:a": full + window}


def test_a_wide_ubatch_widens_the_window_cache() -> None:
    layer = gpt_oss_120b().layers[0]
    narrow, wide = (layer_kv_bytes(layer, 128, parameters(131072, ubatch=u)) for u in (512, 2048))
    assert (narrow, wide) == (768 * 2048, 2304 * 2048)


def test_quantized_cache_uses_whole_blocks() -> None:
    layer = LayerShape(0, 0, 0, 0, 0, 0, kv_heads=8, key_length=64, value_length=64)
    assert layer_kv_bytes(layer, 0, parameters(4096, kv="q8_0")) == 4096 * 2 * 8 * 64 * 34 // 32


def test_every_sequence_has_its_own_padded_stream() -> None:
    layer = LayerShape(0, 0, 0, 0, 0, 0, kv_heads=1, key_length=64, value_length=64)
    assert layer_kv_bytes(layer, 0, parameters(3 * 1000, parallel=3)) == 3 * 1024 * 2 * 64 * 2


def test_mla_keeps_keys_only() -> None:
    # DeepSeek-V3: 576 elements a layer and token, 68.6 KiB a token over 61 layers.
    layer = LayerShape(0, 0, 0, 0, 0, 0, kv_heads=1, key_length=576, value_length=0)
    assert 61 * layer_kv_bytes(layer, 0, parameters(256)) // 256 == 61 * 576 * 2


def test_a_recurrent_layer_has_a_state_per_sequence_and_no_cells() -> None:
    layer = LayerShape(0, 0, 0, 0, 0, 0, kind="recurrent", state_bytes=MIB)
    assert layer_kv_bytes(layer, 0, parameters(131072, parallel=4)) == 4 * MIB


def test_a_tied_head_is_copied_to_a_gpu_but_not_on_the_host() -> None:
    from dataclasses import replace

    shape = replace(dense(), head_tied=True)
    layers = len(shape.layers)
    resident = sum(layer.weight_bytes for layer in shape.layers)
    on_host = weight_bytes(shape, Placement.on("cpu", ("cpu",) * layers))
    on_gpu = weight_bytes(shape, Placement.on("gpu:a", ("gpu:a",) * layers))
    assert on_host == {"cpu": resident + shape.embedding_bytes}
    assert on_gpu == {"cpu": shape.embedding_bytes, "gpu:a": resident + shape.head_bytes}
