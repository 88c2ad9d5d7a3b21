"""The README says what there is."""

from pathlib import Path

import yaml

from autoindex.settings import Settings

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()


def test_every_setting_stands_in_the_table() -> None:
    rows = [
        f"| `AUTOINDEX_{name.upper()}` | {'' if field.default is None else f'`{field.default}`'} "
        f"| {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    assert [row for row in rows if row not in README] == []


def test_every_deployment_is_named() -> None:
    flows = {
        "refresh": "refresh-market-data",
        "compute": "compute-index",
        "report": "generate-report",
        "cleanup": "clean-up",
    }
    entries = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    for entry in entries:
        assert f"`{flows[entry['name']]}/{entry['name']}`" in README
