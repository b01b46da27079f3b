"""The JSON Schema of `moetune check --json`, made from the report's own types so that it cannot fall behind them.

`python -m tests.readiness.check_schema` writes `presets/schema/check.json` anew.
"""

from __future__ import annotations

import json

from app.jobs.checking import CheckReport
from app.readiness import Finding
from app.resources import PRESETS
from app.runtimes.base import Engine
from tests.schemas import Schema, schema_of

SCHEMA = PRESETS / "schema" / "check.json"


def check_schema() -> Schema:
    """The schema of the whole report."""
    return schema_of(
        CheckReport,
        "moetune check --json",
        "A machine, what is right and wrong with it, and its engines. A fact that is not known is null. "
        "`version` rises when a field changes its meaning or goes.",
        {"Engine": Engine, "Finding": Finding},
    )


def text() -> str:
    """The file as it should be."""
    return json.dumps(check_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.parent.mkdir(exist_ok=True)
    SCHEMA.write_text(text(), encoding="utf-8")
