"""Which folders a stack takes for its own."""

import os
import pwd
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from autoindex.errors import ConfigurationError
from deployments.local import data_folder


def test_a_missing_folder_is_made_and_stays_the_stacks(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "var"
    data_folder.check(folder)
    (folder / "stocks.csv").touch()
    data_folder.check(folder)


def test_it_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    folder.mkdir()
    folder.chmod(0o777)
    data_folder.check(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_one_that_cannot_be_closed_to_others_is_refused() -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    # Not below pytest's own folder, which only root enters.
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        os.seteuid(nobody)
        try:
            with pytest.raises(ConfigurationError, match=r"not permitted.*a folder of your own"):
                data_folder.check(Path(folder))
        finally:
            os.seteuid(0)


def test_what_others_of_ours_have_made_and_hidden_files_are_no_obstacle(tmp_path: Path) -> None:
    for name in ("demo", "reports", ".snapshot", "lost+found"):
        (tmp_path / name).mkdir()
    data_folder.check(tmp_path)


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    # As /var, which is the default's place from `/`.
    for name in ("backups", "cache", "lib", "lock", "run", "tmp"):
        (tmp_path / name).mkdir()
    before = tmp_path.stat().st_mode
    with pytest.raises(ConfigurationError, match=r"\(backups, cache, lib, …\).*AUTOINDEX_DATA_DIR"):
        data_folder.check(tmp_path)
    assert len(list(tmp_path.iterdir())) == 6
    assert tmp_path.stat().st_mode == before


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null", "/dev/null/var"])
def test_what_cannot_be_written_to_is_refused(folder: str) -> None:
    with pytest.raises(ConfigurationError, match=f"can't write to {folder}"):
        data_folder.check(Path(folder))
