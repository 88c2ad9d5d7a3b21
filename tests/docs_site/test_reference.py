"""The generated reference has everything that there is."""

import re

import typer

from autoindex.settings import Settings
from deployments.cli import app
from docs_site import reference


def test_it_lists_every_setting() -> None:
    rows = reference.settings().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [
        f"AUTOINDEX_{name.upper()}" for name in Settings.model_fields
    ]


def test_it_lists_every_command() -> None:
    def names(command: object, name: str) -> list[str]:
        below = getattr(command, "commands", {})
        return [name, *(one for word, sub in below.items() for one in names(sub, f"{name} {word}"))]

    headings = re.findall(r"^#+ `(.*)`$", reference.commands(), re.M)
    assert headings == names(typer.main.get_command(app), "autoindex")


def test_it_lists_every_endpoint_and_schema() -> None:
    contract, text = reference.openapi(), reference.api()
    headings = re.findall(r"^### (.+)$", text, re.M)
    endpoints = {f"{m.upper()} {path}" for path, of in contract["paths"].items() for m in of}
    assert set(headings) == endpoints | set(contract["components"]["schemas"])
    assert len(headings) == len(set(headings))
    anchors = {re.sub(r"\W", "", heading).lower() for heading in headings} | {"usual-errors"}
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= anchors
