"""How well the constants that ship predict published measurements: decode and prefill, by class and by machine.

    python tests/benchmarks/accuracy.py ROWS.csv [--json] [--leave-out] [--worst N]

Every row is predicted from what it states about machine, model, placement and flags; nothing is fitted to it. With
`--leave-out` the decode constants are fitted once more for every machine without its rows (and without its hardware
group), which tells how a machine fares that nobody saw. A row that cannot be predicted is counted with its reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.benchmarks.outcomes import decode_outcomes, prefill_outcomes  # noqa: E402
from tests.benchmarks.report import report_json, report_lines  # noqa: E402
from tests.benchmarks.rows import read_rows  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Print the report; 2 where the file cannot be read."""
    parser = argparse.ArgumentParser(description="Predict published measurements and say how far off that is.")
    parser.add_argument("rows", type=Path, help="CSV file of measurements")
    parser.add_argument("--json", action="store_true", help="figures as JSON")
    parser.add_argument("--leave-out", action="store_true", help="fit without each machine, and each hardware group")
    parser.add_argument("--worst", type=int, default=15, metavar="N", help="worst groups of rows to list")
    given = parser.parse_args(arguments)
    try:
        rows = read_rows(given.rows)
    except OSError as error:
        print(f"{given.rows} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    decode, prefill = decode_outcomes(rows), prefill_outcomes(rows)
    if given.json:
        print(json.dumps(report_json(rows, decode, prefill), indent=1))
    else:
        print("\n".join(report_lines(rows, decode, prefill, worst=given.worst, leave_out=given.leave_out)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
