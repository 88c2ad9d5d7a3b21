"""What is taken as a mail address can be written into a mail, and means the same there."""

from email import message_from_string
from email.message import EmailMessage
from email.policy import SMTPUTF8

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from autoindex.mail_address import MailAddress, parse, parse_several

RECIPIENT = TypeAdapter(MailAddress)
ATOMS = st.text("abcXYZ019.=?!#$%&'*+-/^_`{|}~éß", min_size=1, max_size=30)


@given(local=ATOMS | st.emails().map(lambda one: one.rpartition("@")[0]))
@example(local="=?utf-8?q?x?=")
@example(local="a=?utf-8?q?x?=b")
def test_what_is_taken_arrives_unchanged(local: str) -> None:
    try:
        taken = RECIPIENT.validate_python(f"{local}@example.com")
    except ValidationError:
        assume(False)
    mail = EmailMessage(policy=SMTPUTF8)
    mail["To"] = parse(taken)
    arrived = message_from_string(mail.as_bytes().decode(), policy=SMTPUTF8)
    assert [one.addr_spec for one in arrived["To"].addresses] == [taken]


@pytest.mark.parametrize("written", ["root@localhost", "ops@mail.corp.local"])
def test_names_of_a_network_of_ones_own_are_for_settings_only(written: str) -> None:
    assert parse(written).addr_spec == written
    with pytest.raises(ValidationError):
        RECIPIENT.validate_python(written)


def test_several_stand_with_commas_between() -> None:
    found = parse_several("Operators <ops@example.com>,dev@example.com")
    assert [one.addr_spec for one in found] == ["ops@example.com", "dev@example.com"]
    assert found[0].display_name == "Operators"


def test_a_recipient_is_a_mail_address_in_the_schema_too() -> None:
    assert RECIPIENT.json_schema() == {"type": "string", "format": "email"}
