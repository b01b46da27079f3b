"""KTransformers' real kernels, where kt-kernel is installed; what is said where it is not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from app.errors import EngineFailedError
from app.runtimes import kt_kernels
from app.runtimes.kt_kernels import KtLayer, find_python, time_layer

SMALL = KtLayer("AMXINT8", experts=16, used=4, hidden=1024, inner=512, threads=1)


@pytest.fixture
def kt_python() -> Path:
    """`MOETUNE_KT_PYTHON` of the person who runs the tests, or this Python."""
    python = find_python()
    if python is None:
        pytest.skip("kt-kernel is not installed: pip install --no-deps kt-kernel==0.7.2, or set MOETUNE_KT_PYTHON")
    return python


@pytest.mark.parametrize("method", kt_kernels.METHODS)
def test_the_real_kernel_times_a_token_and_a_prompt(kt_python: Path, method: str) -> None:
    layer = KtLayer(method, 16, 4, 1024, 512, 1)
    decode, prefill = time_layer(kt_python, layer, prompt=64, repetitions=3, limit_s=60)
    assert (decode.phase, prefill.phase, prefill.tokens) == ("decode", "prefill", 64)
    assert len(decode.samples_ms) == len(prefill.samples_ms) == 3
    # Sixteen tokens share each expert's weights: a token of a prompt is cheaper.
    assert min(prefill.samples_ms) < min(decode.samples_ms)


def test_more_weights_take_longer(kt_python: Path) -> None:
    few, many = (
        min(next(time_layer(kt_python, layer, prompt=8, repetitions=4, limit_s=60)).samples_ms)
        for layer in (KtLayer("AMXINT8", 16, 2, 1024, 512, 1), KtLayer("AMXINT8", 16, 8, 1024, 512, 1))
    )
    assert many > 1.5 * few


def test_a_shape_that_the_kernel_refuses_is_named(kt_python: Path) -> None:
    layer = KtLayer("AMXINT4", 16, 4, 1024, 192, 1)
    with pytest.raises(EngineFailedError, match="not aligned"):
        list(time_layer(kt_python, layer, prompt=8, repetitions=2, limit_s=60))


def test_a_python_without_kt_kernel_says_so() -> None:
    if find_python() == Path(sys.executable):
        pytest.skip("this Python has kt-kernel")
    with pytest.raises(EngineFailedError, match="kt-kernel is not installed"):
        list(time_layer(Path(sys.executable), SMALL, prompt=8, repetitions=2, limit_s=60))


def test_the_python_of_the_kt_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(kt_kernels.CONFIGURED, raising=False)
    if find_python() == Path(sys.executable):
        pytest.skip("this Python has kt-kernel")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python() is None
    script = tmp_path / "kt"
    script.write_text(f"#!{sys.executable}\nprint()\n")
    script.chmod(0o755)
    assert find_python() == Path(sys.executable)
    script.write_text("#!/bin/sh\n")
    assert find_python() is None


def test_the_made_up_layer_is_bounded() -> None:
    large = KtLayer("AMXINT8", experts=256, used=8, hidden=7168, inner=2048, threads=8)
    assert 8 <= large.resident < 256
    assert large.resident * 3 * 7168 * 2048 * 2 <= max(kt_kernels.LARGEST_WEIGHTS, 8 * 3 * 7168 * 2048 * 2)
    assert SMALL.resident == 16


def test_a_configured_python_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(kt_kernels.CONFIGURED, os.path.join("/opt", "kt", "bin", "python"))
    assert find_python() == Path("/opt/kt/bin/python")
