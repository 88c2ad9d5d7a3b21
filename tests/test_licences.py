"""Under which licences what is installed with Autoindex may be passed on."""

import re
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata

from worker.prefect_yaml import PROJECT

# Those that ask for no more than to be named, and to share changes of their own files.
ACCEPTED = re.compile(
    r"MIT|BSD|Apache|ISC|MPL|Mozilla|PSF|Python Software Foundation|Unlicense|LGPL|Artistic|Zlib"
)


def licence(found: PackageMetadata) -> str:
    """As the package declares it: an expression, classifiers, or the old free text."""
    classifiers = found.get_all("Classifier", [])
    named = "; ".join(one.split(" :: ")[-1] for one in classifiers if one.startswith("License"))
    return str(found.get("License-Expression") or named or found.get("License") or "none")


def test_everything_that_is_installed_may_be_passed_on() -> None:
    lock = (PROJECT / "requirements.lock").read_text()
    names = set(re.findall(r"^([\w.-]+)==", lock, re.MULTILINE))
    licences = {}
    for name in names:
        try:
            licences[name] = licence(metadata(name))
        except PackageNotFoundError:
            continue  # for another system or Python
    assert len(licences) > len(names) / 2
    assert {name: one for name, one in licences.items() if not ACCEPTED.search(one)} == {}
