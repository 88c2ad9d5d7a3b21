"""The secrets that a local stack makes for itself."""

import os
from pathlib import Path

from deployments.local import local_secret


def test_they_are_their_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        login = local_secret.ensure_prefect_login(tmp_path)
    finally:
        os.umask(before)
    assert local_secret.ensure_prefect_login(tmp_path) == login
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600]
