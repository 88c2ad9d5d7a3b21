"""`autoindex demo` as its user sees it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pypdf

from benchmarks.ports import free_ports
from tests import hostile_shell

# An address that is not where everything else listens.
HOST = "127.0.0.2"
README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_demonstration_does_the_main_job(tmp_path: Path) -> None:
    names = ("API", "PREFECT", "SANDBOX")
    pairs = zip(names, free_ports(3), strict=True)
    ports = {f"AUTOINDEX_{name}_PORT": str(port) for name, port in pairs}
    folder = tmp_path / "var"
    ended = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "demo"],
        # Whatever the shell is set up for.
        env=os.environ
        | hostile_shell.variables(tmp_path / "somebody")
        | ports
        | {"AUTOINDEX_DATA_DIR": str(folder), "AUTOINDEX_API_HOST": HOST},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        umask=0,
    )
    said = ended.stdout
    assert ended.returncode == 0, said
    assert "21 symbols, 174,573 records" in said
    assert "Sharpe ratio" in said
    assert f"Prefect UI  http://127.0.0.1:{ports['AUTOINDEX_PREFECT_PORT']}" in said

    files = {path.suffix: path for path in (folder / "demo" / "downloads").iterdir()}
    assert set(files) == {".pdf", ".xlsx", ".json"}
    assert all(str(path) in said for path in files.values())
    report = json.loads(files[".json"].read_text())
    assert f"{report['headline']['level']:,.2f}" in said
    assert len(pypdf.PdfReader(files[".pdf"]).pages) > 1
    assert not _running_in(folder)
    assert _open_to_others(folder) == []
    assert _shape(said.replace(str(folder), "var").replace("?", "✓")) == _shape(
        _shown_in_the_readme()
    )


def _open_to_others(folder: Path) -> list[Path]:
    # Prefect's pages are nobody's secret; it copies them with the modes that they have.
    pages = folder / "demo" / "prefect" / "ui"
    found = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    return [p for p in found if p.stat().st_mode & 0o077 and not p.is_relative_to(pages)]


def _shown_in_the_readme() -> str:
    return README.read_text().partition("```\nAutoindex demonstration")[2].partition("```")[0]


def _shape(said: str) -> list[list[str]]:
    """Its words line by line, whatever the numbers; without the head, and what a long step does."""
    lines = [line for line in said.splitlines()[1:] if not line.startswith("   ")]
    words = [re.sub(r"[0-9]+", "0", line).split() for line in lines]
    return [line for line in words if line]


def _running_in(folder: Path) -> list[psutil.Process]:
    """Processes started for this folder, wherever they hang; another stack's come and go."""
    return [process for process in psutil.process_iter() if str(folder) in _said_to(process)]


def _said_to(process: psutil.Process) -> str:
    """The command and the environment a process was given."""
    try:
        return " ".join([*process.cmdline(), *process.environ().values()])
    except psutil.Error:  # ended meanwhile, or another user's
        return ""
