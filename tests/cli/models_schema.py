"""The JSON Schema of `moetune models --json`, made from the report's own types.

`python -m tests.cli.models_schema` writes `presets/schema/models.json` anew.
"""

from __future__ import annotations

import json

from app.jobs.library import Library
from app.resources import PRESETS
from tests.schemas import schema_of

PATH = PRESETS / "schema" / "models.json"


def text() -> str:
    """The file as it should be."""
    schema = schema_of(
        Library,
        "moetune models --json",
        "Model files and described models with what each would come to on this machine. The number in `schema` rises "
        "when a field changes its meaning or goes.",
    )
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
