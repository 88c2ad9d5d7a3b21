"""The commands in the README and the tutorial, pasted into a shell."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deployments.local.stack import Stack

PROJECT = Path(__file__).resolve().parents[2]
README = PROJECT / "README.md"
TUTORIAL = PROJECT / "docs" / "tutorial.md"
# A 503 says that a part is slow, as it may be beside other work: asked again, as an app does.
CURL = """\
#!/bin/bash
while :; do
    /usr/bin/curl "$@" > "$HOME/answer"
    status=$?
    [ $status = 22 ] && grep -q '"status": *503' "$HOME/answer" || break
    sleep 1
done
cat "$HOME/answer"
exit $status
"""


def code_in(text: str) -> str:
    return "\n".join(re.findall(r"^```\n(.*?)^```", text, re.S | re.M))


def pasted(stack: Stack, folder: Path, code: str) -> str:
    """The output of code, run on the stack's ports in a folder with its `.venv` and `var`."""
    for port, own in (("8000", stack.settings.api_port), ("4200", stack.settings.prefect_port)):
        code = code.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "var").symlink_to(stack.settings.data_dir)
    (folder / "bin").mkdir()
    curl = folder / "bin" / "curl"
    curl.write_text(CURL)
    curl.chmod(0o755)
    env = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
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


def section(name: str) -> str:
    _, _, text = README.read_text().partition(f"\n## {name}\n")
    return code_in(text.partition("\n## ")[0])


@pytest.mark.usefixtures("refreshed")
def test_the_facades_lines_work(stack: Stack, tmp_path: Path) -> None:
    said = pasted(stack, tmp_path, section("The REST facade"))
    for words in ("Refresh", "Index computation", "Cleanup"):
        assert f'"status":"pending","message":"{words} task queued"' in said
    assert '"status":"success","result":{"file"' in said
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert '{"session":"2022-12-28","level":18161.89' in said
    assert '"status":"revoked","message":"Refresh task' in said


@pytest.mark.usefixtures("refreshed")
def test_prefects_lines_work(stack: Stack, tmp_path: Path) -> None:
    said = pasted(stack, tmp_path, section("Prefect"))
    assert "Flow run finished successfully" in said
    assert "30 18 * * 1-5" in said


@pytest.mark.usefixtures("refreshed")
def test_the_tutorials_lines_work(stack: Stack, tmp_path: Path) -> None:
    # Tests of `autoindex up` start a stack as this does.
    start, _, code = code_in(TUTORIAL.read_text()).partition("\n")
    assert start == "make up"
    (tmp_path / "Makefile").symlink_to(PROJECT / "Makefile")
    said = pasted(stack, tmp_path, code)
    # Each of four tasks was followed, and the first one asked for once more.
    assert said.count('"status":"success"') == 5
    assert '"text":"would remove' in said
    assert '{"session":"2022-12-28","level":18161.89' in said
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    # A member of the first day that is listed, and none of the second.
    assert (said.count("\nGE,NYSE,"), said.count("\nKO,NYSE,")) == (1, 2)
    assert "1 deactivated from 2022-12-29 on" in said
    assert "1 activated from 2022-12-29 on" in said
    # `make clean` has removed what it names: here, links to them.
    assert not {".venv", "var"} & {path.name for path in tmp_path.iterdir()}
