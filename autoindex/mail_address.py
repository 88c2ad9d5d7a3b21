"""Mail addresses: one check for requests, settings and the mail itself."""

import re
from email.errors import NonASCIILocalPartDefect
from email.headerregistry import Address, HeaderRegistry
from typing import Annotated, Any, Final

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, WithJsonSchema

_LONGEST: Final = 500
_NAMED: Final = re.compile(
    r"""(?:"(?P<quoted>[^"<>\\]*)"|(?P<name>[^"<>]*?))\s*<(?P<spec>[^<>]*)>"""
)
_REASON: Final = "must be one mail address, as in ann@example.com"
# The library accepts an internal domain only as part of a public one.
_PUBLIC_SUFFIX: Final = ".example.com"


def parse(written: str, *, internal: bool = True) -> Address:
    """One address, with or without a name; its domain in ASCII, which every mail server accepts.

    With `internal`, the domain may be one of the local network, as in ops@mailhost. Raises
    `ValueError` for anything else: several addresses, a quoted local part, text that a mail header
    would read as another address, or that could end a header line.
    """
    if len(written) > _LONGEST or not written.isprintable():
        raise ValueError(_REASON)
    named = _NAMED.fullmatch(written)
    name = (named["quoted"] or named["name"] or "") if named else ""
    local, domain = _checked(named["spec"] if named else written, internal=internal)
    address = Address(name, local, domain)
    if not _survives_a_header(address):
        raise ValueError(_REASON)
    return address


def parse_several(written: str) -> tuple[Address, ...]:
    """Addresses separated by commas; raises `ValueError` where one is invalid."""
    return tuple(parse(one.strip()) for one in written.split(","))


def _checked(spec: str, *, internal: bool) -> tuple[str, str]:
    """The local part and the domain."""
    suffix = _PUBLIC_SUFFIX if internal else ""
    try:
        found = validate_email(spec + suffix, check_deliverability=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(f"{_REASON}: {error}") from None
    domain = found.ascii_domain.removesuffix(suffix)
    if domain.rpartition(".")[2].isdecimal():  # an IPv4 address
        raise ValueError(_REASON)
    return found.local_part, domain


def _survives_a_header(address: Address) -> bool:
    """Whether a header gives the address back unchanged: encoded words mean something else."""
    header: Any = HeaderRegistry()("To", str(address))
    wrong = [flaw for flaw in header.defects if not isinstance(flaw, NonASCIILocalPartDefect)]
    return not wrong and header.addresses == (address,)


def _recipient(written: str) -> str:
    return parse(written, internal=False).addr_spec


MailAddress = Annotated[
    str, AfterValidator(_recipient), WithJsonSchema({"type": "string", "format": "email"})
]
"""The address alone, in the form that mail is sent to."""
