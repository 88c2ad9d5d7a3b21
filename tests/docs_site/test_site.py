"""The site names every page, is built without a warning, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from autoindex.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
CONFIG = PROJECT / "docs_site" / "mkdocs.yml"
# In an environment of its own, which `make test` makes.
BUILDER = Path(sys.prefix, "docs/bin/python")


def pages(entry: Any) -> Iterator[str]:
    """The files below an entry of the navigation."""
    if isinstance(entry, str):
        yield entry
    else:
        for below in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(below)


def test_the_navigation_names_every_page_once() -> None:
    folder = PROJECT / "docs"
    named = list(pages(yaml.safe_load(CONFIG.read_text())["nav"]))
    assert len(named) == len(set(named))
    there = {str(page.relative_to(folder)) for page in folder.glob("**/*.md")}
    decisions = {page for page in there if page.startswith("decisions/0")}
    outside = {"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    assert set(named) == there - decisions | outside


def test_it_is_built_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    if not BUILDER.exists():
        reason = "what builds the documentation is not installed: make .venv/docs"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    options = ["--strict", "--config-file", str(CONFIG), "--site-dir", str(tmp_path)]
    built = subprocess.run(
        [BUILDER, "-m", "mkdocs", "build", *options], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    for page in tmp_path.glob("**/*.html"):
        text = page.read_text()
        assert not re.findall(r"<(?:script|link|img|iframe)[^>]*(?:https?:)?//[^>]*>", text), page
    settings = (tmp_path / "reference" / "settings.html").read_text()
    assert all(f"AUTOINDEX_{name.upper()}" in settings for name in Settings.model_fields)
    assert "POST /api/v1/background/refresh" in (tmp_path / "reference" / "api.html").read_text()
    assert "autoindex universe import" in (tmp_path / "reference" / "commands.html").read_text()
