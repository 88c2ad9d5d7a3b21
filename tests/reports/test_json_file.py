"""The JSON file: the published schema, and every digit."""

import json
from pathlib import Path

import jsonschema
import pytest

from autoindex.reports import json_file
from autoindex.reports.content import ReportContent


@pytest.fixture(scope="module")
def written(content: ReportContent, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("json") / "report.json"
    json_file.write(content, path)
    return path


def test_the_published_schema_is_that_of_the_content() -> None:
    # Run `python -m autoindex.reports.json_file` when the content changes.
    assert json_file.published_schema() == json_file.schema()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(json_file.published_schema())


def test_a_report_follows_the_schema(written: Path) -> None:
    jsonschema.validate(json.loads(written.read_text()), json_file.published_schema())


def test_the_schema_refuses_what_is_no_report(written: Path) -> None:
    report = json.loads(written.read_text())
    del report["headline"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(report, json_file.published_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(
            json.loads(written.read_text()) | {"surprise": 1}, json_file.published_schema()
        )


def test_every_digit_survives(written: Path, content: ReportContent) -> None:
    assert ReportContent.model_validate_json(written.read_bytes()) == content


def test_no_word_that_json_does_not_know(written: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(written.read_text(), parse_constant=refuse)
