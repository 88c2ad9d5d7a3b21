"""The commands in the README, pasted into a shell."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local.stack import Stack

README = Path(__file__).resolve().parents[2] / "README.md"


def pasted(stack: Stack, folder: Path, section: str) -> str:
    """The output of a section's code, run on the stack's ports in a folder with its `.venv`."""
    _, _, text = README.read_text().partition(f"\n## {section}\n")
    code = "\n".join(re.findall(r"^```\n(.*?)^```", text.partition("\n## ")[0], re.S | re.M))
    for port, own in (("8000", stack.settings.api_port), ("4200", stack.settings.prefect_port)):
        code = code.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
    (folder / ".venv").symlink_to(sys.prefix)
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "AUTOINDEX_DATA_DIR": str(stack.settings.data_dir),
    }
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


@pytest.mark.usefixtures("refreshed")
def test_the_facades_lines_work(stack: Stack, tmp_path: Path) -> None:
    said = pasted(stack, tmp_path, "The REST facade")
    for words in ("Refresh", "Index computation", "Cleanup"):
        assert f'"status":"pending","message":"{words} task queued"' in said
    assert '"status":"success","result":{"file"' in said
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert '{"session":"2022-12-28","level":18161.89' in said
    assert '"status":"revoked","message":"Refresh task' in said


@pytest.mark.usefixtures("refreshed")
def test_prefects_lines_work(stack: Stack, tmp_path: Path) -> None:
    said = pasted(stack, tmp_path, "Prefect")
    assert "Flow run finished successfully" in said
    assert "30 18 * * 1-5" in said
