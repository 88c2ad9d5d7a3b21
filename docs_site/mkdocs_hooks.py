"""Hooks of mkdocs: pages from outside `docs/`, and parts that are made from the code."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any, Final

from mkdocs.structure.files import File

PROJECT: Final = Path(__file__).resolve().parent.parent
# Pages that GitHub looks for beside the README.
OUTSIDE: Final = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK: Final = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(#[\w-]+)?\)")
# Names in tables stay in one piece: on a narrow screen a table scrolls.
_STYLE: Final = ".md-typeset td:first-child code { white-space: nowrap; }"
_GENERATED: Final = re.compile(r"<!-- generated: (\w+) -->")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside, and the style sheet."""
    files.append(File.generated(config, "style.css", content=_STYLE))
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(PROJECT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Insert what is generated, and lead links to where their pages are on the site."""
    source = page.file.src_uri
    linked = _LINK.sub(lambda link: _on_site(link, source), markdown)
    return _GENERATED.sub(lambda marker: _reference()[marker[1]], linked)


def _on_site(link: re.Match[str], source: str) -> str:
    """The link; only its text where it leads to a file that is not on the site."""
    text, path, anchor = link.groups()
    here = PurePosixPath(source if source in OUTSIDE else f"docs/{source}").parent
    target = normpath(here / path)
    if target.startswith("docs/"):
        target = target.removeprefix("docs/")
    elif target not in OUTSIDE:
        return text
    return f"[{text}]({relpath(target, PurePosixPath(source).parent)}{anchor or ''})"


@cache
def _reference() -> dict[str, str]:
    """Made by Autoindex's own environment: this one has only what builds the site."""
    python = Path(sys.prefix).parent / "bin" / "python"
    made = subprocess.run(
        [python, "-m", "docs_site.reference"], cwd=PROJECT, capture_output=True, check=True
    )
    return dict(json.loads(made.stdout))
