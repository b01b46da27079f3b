"""The launch ladder where a GPU would be needed: the fake engine dies with the words of recorded failures.

The words are those of the reports that are named; the figures are the plan's, or what a test makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import EngineFailedError
from app.jobs.ladder import ROUNDS, launch_down, next_step
from app.jobs.planning import PlannedRun, PlanRequest, make_plan
from app.launch.supervisor import Supervisor
from app.models.catalog import find_spec
from app.models.slices import write_sparse
from app.solver.model import Workload
from app.solver.plan import DeviceMemory
from app.units import GIB, MIB
from tests.launch.engines import fake, our_children
from tests.runtimes.conftest import device, engine_of
from tests.solver.machines import desktop


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gpt-oss-120b without its weights: the header is true, the rest is a hole."""
    return write_sparse(find_spec("gpt-oss-120b"), tmp_path_factory.mktemp("models") / "oss.gguf").path


@pytest.fixture
def planned(model: Path, home: Path) -> PlannedRun:
    """For a card of 24 GiB whose engine cannot be asked what a plan takes."""
    engine = engine_of("0.5.0", (device("CUDA0", "gpu:a"),))
    found = make_plan(PlanRequest(str(model), Workload(context=8192), port=8080), desktop(), (engine,))
    assert not found.engine_checked
    return found


def card(planned: PlannedRun) -> DeviceMemory:
    [found] = [memory for memory in planned.plan.memory if memory.device_id == "gpu:a"]
    return found


def refused_weights(planned: PlannedRun, free: int) -> list[str]:
    """llama.cpp issue 20431: the weights of a card are one buffer, asked for first."""
    size = card(planned).weight_bytes
    return [
        f"llama_prepare_model_devices: using device CUDA0 (RTX 4090) (0000:01:00.0) - {free // MIB} MiB free",
        f"ggml_backend_cuda_buffer_type_alloc_buffer: allocating {size / MIB:.2f} MiB on device 0: cudaMalloc failed:"
        " out of memory",
        f"alloc_tensor_range: failed to allocate CUDA0 buffer of size {size}",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
    ]


def refused_compute(planned: PlannedRun) -> list[str]:
    """llama.cpp issue 11476: weights and cache were there."""
    memory = card(planned)
    return [
        f"load_tensors:        CUDA0 model buffer size = {memory.weight_bytes / MIB:8.2f} MiB",
        f"llama_kv_cache:      CUDA0 KV buffer size = {memory.kv_bytes / MIB:8.2f} MiB",
        f"ggml_backend_cuda_buffer_type_alloc_buffer: allocating {memory.compute_bytes / MIB:.2f} MiB on device 0:"
        " cudaMalloc failed: out of memory",
        f"ggml_gallocr_reserve_n: failed to allocate CUDA0 buffer of size {memory.compute_bytes}",
        "llama_init_from_model: failed to initialize the context: failed to allocate compute pp buffers",
    ]


async def climb(
    planned: PlannedRun, dies: Callable[[PlannedRun, int], list[str]]
) -> tuple[PlannedRun | EngineFailedError, list[PlannedRun], list[str]]:
    """Launch with an engine that dies with those lines for as long as there are any: outcome, plans tried, said."""
    supervisor = Supervisor()
    tried: list[PlannedRun] = []
    told: list[str] = []

    async def start(one: PlannedRun) -> None:
        lines = dies(one, len(tried))
        tried.append(one)
        words = [word for line in lines for word in ("--say", line)]
        await supervisor.start(fake(*words, *(("--die-at-start",) if lines else ())), label="oss")

    try:
        return await launch_down(planned, start, lambda: tuple(supervisor.tail), told.append), tried, told
    except EngineFailedError as error:
        return error, tried, told
    finally:
        await supervisor.stop()
        assert our_children() == []


async def test_weights_that_a_card_refuses_are_fewer_in_the_next_plan(planned: PlannedRun) -> None:
    free = 20 * GIB
    ran, tried, told = await climb(planned, lambda one, at: refused_weights(one, free) if at == 0 else [])
    assert isinstance(ran, PlannedRun)
    assert tried == [planned, ran]
    before, after = card(planned), card(ran)
    over = before.weight_bytes + before.kv_bytes + before.compute_bytes - free
    assert over > 0, "the case that counts"
    assert before.total_bytes - over - 2 * GIB < after.total_bytes <= before.total_bytes - over
    assert "CUDA0 ran out of memory" in told[0]
    assert "for the weights could not be had" in told[0]
    assert "of CUDA0 (attempt 2 of 4)" in told[0]
    assert told[1].startswith("the next plan: ")


async def test_a_card_that_said_it_had_enough_is_asked_for_less_each_time(planned: PlannedRun) -> None:
    error, tried, told = await climb(planned, lambda one, at: refused_compute(one))
    assert isinstance(error, EngineFailedError)
    assert "for the compute buffers could not be had" in error.message
    assert len(tried) == ROUNDS + 1
    sizes = [card(one).total_bytes for one in tried]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes)
    assert len([line for line in told if "Planning again" in line]) == ROUNDS


async def test_the_person_s_own_limit_of_another_device_stays(planned: PlannedRun) -> None:
    from dataclasses import replace

    limited = replace(planned, policy=replace(planned.policy, limits=(("cpu", 80 * GIB),)))
    ran, _, _ = await climb(limited, lambda one, at: refused_weights(one, 20 * GIB) if at == 0 else [])
    assert isinstance(ran, PlannedRun)
    assert dict(ran.policy.limits)["cpu"] == 80 * GIB
    assert set(dict(ran.policy.limits)) == {"cpu", "gpu:a"}


async def test_where_nothing_smaller_fits_that_is_said(planned: PlannedRun) -> None:
    from dataclasses import replace

    held = next(memory for memory in planned.plan.memory if memory.device_id == "cpu")
    limits = (("cpu", held.total_bytes - held.other_bytes),)
    tight = replace(planned, policy=replace(planned.policy, limits=limits))
    error, tried, _ = await climb(tight, lambda one, at: refused_weights(one, 8 * GIB))
    assert isinstance(error, EngineFailedError)
    assert "CUDA0 ran out of memory" in error.message
    assert error.hint.startswith("No smaller plan fits: ")
    assert len(tried) == 1


@pytest.mark.parametrize(
    "lines",
    [
        ["error: invalid argument: --nonsense"],
        ["ggml_vulkan: Device memory allocation of size 118497280 failed."],
        ["terminate called after throwing an instance of 'vk::DeviceLostError'"],
    ],
)
async def test_what_no_smaller_plan_would_mend_is_not_tried_again(planned: PlannedRun, lines: list[str]) -> None:
    error, tried, told = await climb(planned, lambda one, at: lines)
    assert isinstance(error, EngineFailedError)
    assert len(tried) == 1
    assert told == []
    assert next_step(planned, lines, 0) is None
