"""What a shell's environment may not do to the processes of a stack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autoindex.errors import ConfigurationError
from autoindex.settings import Settings
from deployments.local import environment, stack
from tests import hostile_shell

PRIVATE = Settings(archive_url="s3://elsewhere/archive")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a stack that speaks to nobody beyond this machine."""
    return Settings(data_dir=tmp_path / "var")


def test_a_part_sees_nothing_that_leads_it_astray(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = hostile_shell.variables(tmp_path / "somebody")
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    seen = stack.Stack(settings).env
    harmless = {"COLUMNS", "LANG", "LC_ALL", "TERM", "TZ"}
    assert {name for name, value in hostile.items() if seen.get(name) == value} == harmless


def test_a_database_of_ones_own_keeps_what_libpq_documents() -> None:
    shell = {"PGSSLROOTCERT": "/etc/ca.crt", "PATH": "/bin"}
    own = Settings(database_url="postgresql://there/mine")
    assert environment.clean(shell, own) == shell
    assert environment.clean(shell, Settings()) == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("spared", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "example.com, localhost"}, "example.com,localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "one", "no_proxy": "two"}, "two,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_a_proxy_is_for_others_only(spared: dict[str, str], expected: str) -> None:
    shell = {"https_proxy": "http://proxy:3128", "SSL_CERT_FILE": "/etc/ca.crt", **spared}
    kept = environment.clean(shell, PRIVATE)
    assert kept == {**shell, "NO_PROXY": expected, "no_proxy": expected}
    assert environment.clean(shell, Settings()) == {}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.crt", "SSL_CERT_FILE names /nowhere/ca.crt"),
        ("REQUESTS_CA_BUNDLE", "/nowhere/ca.crt", "REQUESTS_CA_BUNDLE names /nowhere/ca.crt"),
        ("SSL_CERT_FILE", __file__, "SSL_CERT_FILE can't be used"),
        ("ALL_PROXY", "socks5://127.0.0.1:9", "ALL_PROXY can't be used.*socks"),
        ("HTTPS_PROXY", "gopher://127.0.0.1:9", "HTTPS_PROXY can't be used"),
    ],
)
def test_what_no_client_can_use_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    for other in environment.clean(os.environ, PRIVATE).keys() - environment.inherited(Settings()):
        monkeypatch.delenv(other)
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=reason):
        environment.check_network()


ENTER = """
from autoindex.settings import Settings
from deployments.local import data_folder, environment
settings = Settings()
data_folder.check(settings.data_dir)
environment.enter(settings)
import api.auth.tokens, deployments.local.stack
"""


def test_the_stacks_own_process_imports_ours_and_makes_no_home_elsewhere(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shell = {
        **hostile_shell.variables(tmp_path / "somebody"),
        "AUTOINDEX_DATA_DIR": str(tmp_path / "var"),
        "HOME": str(home),
    }
    del shell["PYTHONSAFEPATH"]  # or the code below would not find ours at all
    del shell["PYTHONWARNINGS"]  # which the command overrules before anything else
    command = [sys.executable, "-c", ENTER]
    ended = subprocess.run(command, env=shell, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert not list(home.iterdir())


def test_a_user_without_a_home_gets_one(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    with monkeypatch.context() as patch:
        patch.setattr(os, "environ", {**os.environ})
        patch.delenv("HOME", raising=False)
        environment.sanitize(settings)
        assert os.environ["HOME"] == str(settings.data_dir)
