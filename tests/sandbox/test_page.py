"""The requests on the sandbox's page, sent."""

import re
import subprocess
from pathlib import Path

import httpx

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sandbox.md"


def test_the_requests_on_its_page_work(sandbox_url: str) -> None:
    blocks = re.findall(r"^```\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    code = "\n".join(blocks).replace("http://127.0.0.1:8001", sandbox_url)
    # Its first line starts a sandbox, as the fixture does.
    start, _, requests = code.partition("\n")
    assert start == ".venv/bin/python -m sandbox --port 8001"
    sent = f"set -e; curl() {{ command curl -sS --fail --noproxy '*' \"$@\"; }}; {requests}"
    ended = subprocess.run(["bash", "-c", sent], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert '"symbol":"AAPL"' in ended.stdout.replace(" ", "")
    faults = httpx.get(f"{sandbox_url}/sandbox", trust_env=False).json()["faults"]
    assert [fault["kind"] for fault in faults] == ["unknown", "zero", "edge_page"]
