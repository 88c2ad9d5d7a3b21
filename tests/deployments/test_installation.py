"""Autoindex is installed from its checkout, and never built as a wheel."""

import subprocess
import sys
from pathlib import Path

from tests.bounds import HANG_SECONDS
from worker.prefect_yaml import PROJECT


def test_a_wheel_is_refused_with_the_way_to_install(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(tmp_path)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        check=False,
    )
    assert ended.returncode != 0
    assert "pip install --editable ." in ended.stderr
    assert not list(tmp_path.iterdir())
