from __future__ import annotations

from app.runtimes.memory_oracle import parse_rows

BREAKDOWN = """\
0.00.01 I common_memory_breakdown_print: | memory breakdown [MiB]     | total    free    self   model   context   compute |
0.00.01 I common_memory_breakdown_print: |   - RPC0 (127.0.0.1:51051) | 24105 = 24105 + ( 199 =   113 +      35 +      50) +   -199 |
0.00.01 I common_memory_breakdown_print: |   - Host                   |                    94 =     6 +       0 +      87           |
0.00.01 I common_memory_breakdown_print: |   - CPU_REPACK             |                   403 =   403 +       0 +       0           |
"""  # noqa: E501


def test_rows_are_read_by_device() -> None:
    assert parse_rows("CUDA0 2542 2622 493 \nHost 19627 0 264 \n") == {
        "CUDA0": [2542, 2622, 493],
        "Host": [19627, 0, 264],
    }


def test_weights_that_were_repacked_are_host_memory() -> None:
    assert parse_rows("RPC0 113 35 50 \nHost 6 0 87 \n", BREAKDOWN) == {
        "RPC0": [113, 35, 50],
        "Host": [409, 0, 87],
    }


def test_other_output_is_no_row() -> None:
    assert parse_rows("-c 4096 -ngl 99\nsomething 1 2\n") == {}
