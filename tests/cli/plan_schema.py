"""The JSON Schemas of `moetune plan --json` and of `--what-if --json`, made from the reports' own types.

`python -m tests.cli.plan_schema` writes `presets/schema/plan.json` and `presets/schema/what_if.json` anew.
"""

from __future__ import annotations

import json
from pathlib import Path

from app.jobs.explaining import PlanReport
from app.jobs.supposing import WhatIf
from app.resources import PRESETS
from tests.schemas import Schema, schema_of

FOLDER = PRESETS / "schema"


def plan_schema() -> Schema:
    """Of a plan."""
    return schema_of(
        PlanReport,
        "moetune plan --json",
        "A plan: what goes where, how fast that will be, and how every number came about. A fact that is not known is "
        "null. The number in `schema` rises when a field changes its meaning or goes.",
    )


def what_if_schema() -> Schema:
    """Of a comparison."""
    return schema_of(
        WhatIf,
        "moetune plan --what-if --json",
        "A machine as it is and as it would be: both plans and what changes. The number in `schema` rises when a field "
        "changes its meaning or goes.",
    )


def texts() -> dict[Path, str]:
    """The files as they should be."""
    schemas = {"plan.json": plan_schema(), "what_if.json": what_if_schema()}
    return {FOLDER / name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in schemas.items()}


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")
