from __future__ import annotations

from collections.abc import Callable

import pytest

from detectors.facts import MemoryPool
from detectors.host import Host
from detectors.memory import detect_memory

Tree = Callable[[dict[str, str]], Host]

KIB, GIB = 1024, 1024**3
MEMINFO = {"proc/meminfo": f"MemTotal: {64 * 1024 * 1024} kB\nMemAvailable: {60 * 1024 * 1024} kB\n"}
V2 = "sys/fs/cgroup"


def _pool(host: Host) -> MemoryPool:
    found = detect_memory(host)
    assert found.problems == ()
    return found.pools[0]


def test_without_a_limit_all_of_it_counts(tree: Tree) -> None:
    assert _pool(tree(MEMINFO)) == MemoryPool("ram", "System memory", 64 * GIB, 60 * GIB)


def test_a_v2_limit_holds_the_pool_down(tree: Tree) -> None:
    pool = _pool(
        tree(
            {
                **MEMINFO,
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/b/memory.max": str(8 * GIB),
                f"{V2}/a/b/memory.current": str(3 * GIB),
                f"{V2}/a/b/memory.stat": f"anon 5\ninactive_file {1 * GIB}\n",
            }
        )
    )
    assert pool == MemoryPool("ram", "System memory", 8 * GIB, 6 * GIB, physical_bytes=64 * GIB)


def test_the_tightest_ancestor_decides(tree: Tree) -> None:
    files = {**MEMINFO, "proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/memory.max": "max"}
    pool = _pool(tree({**files, f"{V2}/a/memory.max": str(20 * GIB), f"{V2}/a/memory.high": str(16 * GIB)}))
    assert pool.total_bytes == 16 * GIB


@pytest.mark.parametrize("path", ["/", "/../../docker/x", "/docker/not-mounted-here"])
def test_a_container_finds_its_limit_at_the_root(tree: Tree, path: str) -> None:
    host = tree({**MEMINFO, "proc/self/cgroup": f"0::{path}\n", f"{V2}/memory.max": str(4 * GIB)})
    assert _pool(host).total_bytes == 4 * GIB


def test_a_v1_limit_holds_the_pool_down(tree: Tree) -> None:
    folder = f"{V2}/memory/docker/x"
    pool = _pool(
        tree(
            {
                **MEMINFO,
                "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/x\n0::/\n",
                f"{folder}/memory.limit_in_bytes": str(10 * GIB),
                f"{folder}/memory.usage_in_bytes": str(4 * GIB),
                f"{folder}/memory.stat": f"total_inactive_file {2 * GIB}\n",
            }
        )
    )
    assert (pool.total_bytes, pool.available_bytes) == (10 * GIB, 8 * GIB)


def test_v1_says_no_limit_with_a_huge_number(tree: Tree) -> None:
    limit = {f"{V2}/memory/memory.limit_in_bytes": "9223372036854771712"}
    assert _pool(tree({**MEMINFO, "proc/self/cgroup": "4:memory:/\n", **limit})).physical_bytes is None


def test_an_unknown_size_is_a_problem_and_no_pool(tree: Tree) -> None:
    found = detect_memory(tree({"proc/meminfo": "MemTotal: lots kB\n"}))
    assert found.pools == ()
    assert "it has no MemTotal" in found.problems[0].reason


def test_unknown_free_memory_is_none_with_a_problem(tree: Tree) -> None:
    found = detect_memory(tree({"proc/meminfo": "MemTotal: 1024 kB\n"}))
    assert found.pools[0].available_bytes is None
    assert len(found.problems) == 1
