"""The report as JSON, in the shape of the published `report.schema.json`."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from autoindex.reports.content import ReportContent

SCHEMA_FILE: Final = "report.schema.json"


def write(content: ReportContent, path: Path) -> None:
    """Write `content` to `path` as UTF-8; every number with all its digits."""
    path.write_text(content.model_dump_json() + "\n", encoding="utf-8")


def schema() -> dict[str, Any]:
    """The JSON Schema of the file, made from the content's own classes."""
    made = ReportContent.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def published_schema() -> dict[str, Any]:
    """The JSON Schema as it is shipped with the package."""
    text = files("autoindex.reports").joinpath(SCHEMA_FILE).read_text(encoding="utf-8")
    shipped: dict[str, Any] = json.loads(text)
    return shipped


def main() -> None:
    """Write the schema file anew; run this when the content's classes change."""
    target = Path(__file__).with_name(SCHEMA_FILE)
    target.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
