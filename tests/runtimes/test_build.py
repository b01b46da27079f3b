"""Building: the real cmake and compiler on a source package of a few lines, laid out like the real one."""

from __future__ import annotations

import fcntl
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from app.errors import BuildFailedError, BusyError, UsageError
from app.paths import cache_dir, data_dir
from app.runtimes.build import BuildProgress, build, installed_builds, plan_build
from app.runtimes.build_child import explain_build_failure, progress_of
from app.runtimes.build_recipe import find_program, load_recipe
from app.runtimes.llama_server import find_binaries
from detectors.facts import Device, Machine

RECIPE = load_recipe()
HERE = Machine("host")

CMAKE_LISTS = f"""\
cmake_minimum_required(VERSION 3.14)
project(mini C)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${{CMAKE_BINARY_DIR}}/bin)
foreach(tool {" ".join(RECIPE.targets)})
  add_executable(${{tool}} ${{tool}}.c)
endforeach()
"""
MAIN = "#include <stdio.h>\nint main(void) { puts(TEXT); return 0; }\n"

needs_compiler = pytest.mark.skipif(
    not (find_program(("cmake",)) and find_program(("cc",))), reason="needs cmake and a C compiler"
)


def source_package(files: dict[str, str] | None = None) -> Path:
    """Put a package into the cache as if pip had fetched it."""
    contents = {"CMakeLists.txt": CMAKE_LISTS, "models/big.bin": "unused"}
    contents |= {f"{tool}.c": MAIN.replace("TEXT", f'"{tool}"') for tool in RECIPE.targets}
    contents |= files or {}
    path = cache_dir() / "sources" / f"llama_cpp_python-{RECIPE.version}.tar.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, text in contents.items():
            member = tarfile.TarInfo(f"llama_cpp_python-{RECIPE.version}/{RECIPE.folder}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, BytesIO(text.encode()))
    return path


def machine_with(*gpus: tuple[str, str]) -> Machine:
    """A machine with GPUs of these vendors and architectures."""
    return Machine(
        "host",
        devices=tuple(
            Device(f"gpu:{i}", "dgpu", "x", vendor, "vram", arch=arch) for i, (vendor, arch) in enumerate(gpus)
        ),
    )


@needs_compiler
def test_a_build_installs_every_tool_with_progress(home: Path) -> None:
    source_package()
    seen: list[BuildProgress] = []
    made = build(plan_build(HERE, "cpu"), seen.append)
    assert sorted(path.name for path in (made.path / "bin").iterdir()) == sorted(RECIPE.targets)
    said = subprocess.run([made.path / "bin/llama-bench"], capture_output=True, text=True, check=True).stdout
    assert said == "llama-bench\n"
    assert list(dict.fromkeys(p.step for p in seen)) == ["download", "unpack", "configure", "compile", "install"]
    compiled = [p for p in seen if p.step == "compile" and p.total]
    assert compiled[-1].done == compiled[-1].total > 0
    assert [p.done for p in compiled] == sorted(p.done for p in compiled)
    assert (made.backend, made.version) == ("cpu", RECIPE.version)
    assert installed_builds() == (made,)


@needs_compiler
def test_a_finished_build_is_found_and_not_made_again(home: Path) -> None:
    source_package()
    first = build(plan_build(HERE, "cpu"))
    assert (first.path / "bin/llama-server", "built") in list(find_binaries())
    seen: list[BuildProgress] = []
    assert build(plan_build(HERE, "cpu"), seen.append) == first
    assert seen == []


@needs_compiler
def test_other_flags_are_another_build(home: Path) -> None:
    source_package()
    plan = plan_build(HERE, "cpu")
    build(plan)
    assert plan.installed
    assert not replace(plan, flags={**plan.flags, "GGML_NATIVE": "OFF"}).installed


@needs_compiler
@pytest.mark.parametrize("stop", ["cancelled", "ctrl-c"])
def test_a_build_that_was_stopped_leaves_no_process_and_goes_on(home: Path, stop: str) -> None:
    """One tool waits for a file before it is compiled, and the build is stopped while it does."""
    gate, pid_file, cancelled = home / "gate", home / "pid", threading.Event()
    source_package(
        {
            "CMakeLists.txt": CMAKE_LISTS
            + "add_custom_command(OUTPUT late.c COMMAND sh ${CMAKE_SOURCE_DIR}/late.sh)\n"
            + "add_custom_target(late DEPENDS late.c)\nadd_dependencies(llama-server late)\n",
            "late.sh": f"echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}\n"
            f"test -e {gate} || sleep 60\necho > late.c\n",
        }
    )
    main = threading.get_ident()
    how = cancelled.set if stop == "cancelled" else lambda: signal.pthread_kill(main, signal.SIGINT)
    threading.Thread(target=_when_there, args=(pid_file, how), daemon=True).start()
    plan = plan_build(HERE, "cpu", jobs=2)
    with pytest.raises(BuildFailedError if stop == "cancelled" else KeyboardInterrupt):
        build(plan, cancelled=cancelled)
    assert not _runs(int(pid_file.read_text()))
    assert installed_builds() == ()
    gate.touch()
    before = {path: path.stat().st_mtime_ns for path in plan.build_dir.rglob("*.o")}
    build(plan)
    assert all(path.stat().st_mtime_ns == made for path, made in before.items())


def _when_there(path: Path, act: Callable[[], None]) -> None:
    deadline = time.monotonic() + 30
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    act()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[-1][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@needs_compiler
def test_a_compile_error_is_quoted_and_the_log_kept(home: Path) -> None:
    source_package({"llama-bench.c": "int main(void) { return nonsense; }\n"})
    plan = plan_build(HERE, "cpu")
    with pytest.raises(BuildFailedError, match=r"step 'compile' of the build failed\. .*nonsense") as caught:
        build(plan)
    assert str(plan.log_path) in caught.value.hint
    assert "nonsense" in plan.log_path.read_text()
    assert not plan.install_dir.exists()


@needs_compiler
def test_force_compiles_again_and_replaces(home: Path) -> None:
    source_package()
    plan = plan_build(HERE, "cpu")
    first = (build(plan).path / "bin/llama-server").stat().st_ino
    again = build(plan, force=True)
    assert (again.path / "bin/llama-server").stat().st_ino != first
    assert [path.name for path in (data_dir() / "engines").iterdir()] == [plan.name]


@needs_compiler
def test_only_what_is_needed_is_unpacked(home: Path) -> None:
    source_package()
    plan = plan_build(HERE, "cpu")
    build(plan)
    assert (plan.source_dir / "CMakeLists.txt").is_file()
    assert not (plan.source_dir / "models").exists()


def test_a_damaged_package_is_named_and_removed(home: Path) -> None:
    package = source_package()
    package.write_bytes(package.read_bytes()[:200])
    with pytest.raises(BuildFailedError, match="cannot be unpacked"):
        build(replace(plan_build(HERE, "cpu"), missing=()))
    assert not package.exists()


def test_two_builds_of_the_same_do_not_mix(home: Path) -> None:
    plan = replace(plan_build(HERE, "cpu"), missing=())
    plan.build_dir.parent.mkdir(parents=True)
    with (plan.build_dir.parent / f"{plan.name}.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BusyError, match="Another moetune builds"):
            build(plan)


def test_what_is_missing_is_named_with_its_packages(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildFailedError, match=r"needs .*a C compiler, .*glslc") as caught:
        build(plan_build(HERE, "vulkan"))
    assert re.search(r"sudo apt install .*gcc .*glslc", caught.value.hint)
    assert "sudo dnf install" in caught.value.hint
    assert "sudo pacman -S" in caught.value.hint


def test_the_source_is_the_one_that_the_embedded_engine_pins() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extra = project["project"]["optional-dependencies"]["embedded"]
    assert any(re.match(rf"{RECIPE.package}=={re.escape(RECIPE.version)}\b", line) for line in extra)


def test_the_source_package_is_fetched_and_not_a_wheel(home: Path) -> None:
    argv = plan_build(HERE, "cpu").steps[0].argv
    assert argv[1:4] == ("-m", "pip", "download")
    assert argv[argv.index("--no-binary") + 1] == "llama-cpp-python"
    assert "--no-deps" in argv
    assert argv[-1] == f"llama-cpp-python=={RECIPE.version}"


def test_cuda_is_built_for_the_cards_that_are_there(home: Path) -> None:
    plan = plan_build(machine_with(("NVIDIA", "sm_89"), ("NVIDIA", "sm_120"), ("NVIDIA", "sm_89")))
    assert plan.backend == "cuda"
    assert plan.flags["GGML_CUDA"] == "ON"
    assert plan.flags["CMAKE_CUDA_ARCHITECTURES"] == "120;89"
    assert "-DGGML_RPC=ON" in plan.steps[2].argv


def test_hip_is_built_for_the_gpus_that_are_there(home: Path) -> None:
    flags = plan_build(machine_with(("AMD", "gfx1151"), ("AMD", "gfx1201")), "hip").flags
    assert flags["GGML_HIP"] == "ON"
    assert flags["GGML_HIP_ROCWMMA_FATTN"] == "ON"
    assert flags["AMDGPU_TARGETS"] == "gfx1151;gfx1201"


def test_unlike_gpus_get_the_one_backend_that_sees_both(home: Path) -> None:
    plan = plan_build(machine_with(("NVIDIA", "sm_89"), ("AMD", "gfx1151")))
    assert plan.backend == "vulkan"
    assert plan.flags["GGML_VULKAN"] == "ON"


def test_no_gpu_means_the_cpu_backend(home: Path) -> None:
    plan = plan_build(HERE)
    assert plan.backend == "cpu"
    assert not {"GGML_CUDA", "GGML_HIP", "GGML_VULKAN"} & set(plan.flags)


def test_an_unknown_backend_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="no backend 'metal'"):
        plan_build(HERE, "metal")


def test_a_plan_touches_nothing(home: Path) -> None:
    plan_build(HERE, "vulkan")
    assert not (home / "moetune").exists()


def test_jobs_are_passed_on(home: Path) -> None:
    argv = plan_build(HERE, "cpu", jobs=3).steps[3].argv
    assert argv[argv.index("-j") + 1] == "3"


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("[145/223] Building CXX object x.o", (145, 223)),
        ("[ 12%] Building CXX object x.o", (12, 100)),
        ("[100%] Built target llama", (100, 100)),
        ("In file included from [1/2]", None),
    ],
)
def test_progress_is_read_from_ninja_and_make(line: str, progress: tuple[int, int] | None) -> None:
    assert progress_of(line) == progress


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("c++: fatal error: Killed signal terminated program cc1plus", "ran out of memory"),
        ("/usr/bin/ld: final link failed: No space left on device", "disk is full"),
        ("/venv/bin/python: No module named pip", "has no pip"),
        ("ERROR: No matching distribution found for llama-cpp-python==0.3.36", "could not fetch"),
    ],
)
def test_common_failures_are_named(line: str, said: str) -> None:
    assert said in explain_build_failure(["before", line], Path("/log"))[0]


@needs_compiler
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_serves_where_there_is_no_ninja(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.runtimes import build_plan

    monkeypatch.setattr(build_plan, "find_program", lambda names: None if "ninja" in names else find_program(names))
    source_package()
    plan = plan_build(HERE, "cpu")
    assert "Unix Makefiles" in plan.steps[2].argv
    seen: list[BuildProgress] = []
    build(plan, seen.append)
    assert max(p.done for p in seen if p.total == 100) == 100


def test_what_is_missing_says_why_and_how_to_get_it() -> None:
    need = next(need for need in load_recipe().needs if need.backend == "vulkan" and need.name == "glslc")
    assert str(need).startswith("glslc: it compiles the shaders (Debian, Ubuntu: sudo apt install glslc; ")
