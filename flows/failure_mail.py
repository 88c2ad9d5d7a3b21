"""The mail that tells that a report has failed: a hook of its flow.

Apart from the other hooks, because what makes a mail brings in what makes reports.
"""

from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import uuid5

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_UI_URL

from autoindex.errors import ConfigurationError, MailUnavailable
from autoindex.reports import delivery, failure_notice
from autoindex.settings import Settings
from autoindex.storage import database, deliveries
from flows.failures import reason_of


def mail(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell the address of the settings, where there is one; once, however often this is called."""
    settings = Settings()
    if settings.alert_email is None:
        return
    # A claim of its own: the same address may have been sent the report itself.
    claim_id = uuid5(flow_run.id, "failure")
    identity = delivery.message_id(claim_id, settings.alert_email, settings.mail_from)
    engine = database.engine(settings, "autoindex-failures")
    try:
        with engine.begin() as connection:
            if not deliveries.claim(connection, claim_id, settings.alert_email, identity):
                return
        letter = _letter(settings, flow, flow_run, reason_of(state), identity)
        try:
            delivery.send(settings, letter)
        except (MailUnavailable, ConfigurationError):
            with engine.begin() as connection:
                deliveries.release(connection, claim_id, settings.alert_email)
            raise
        with engine.begin() as connection:
            deliveries.mark(connection, claim_id, settings.alert_email, "sent")
    finally:
        engine.dispose()


def _letter(
    settings: Settings, flow: Flow[Any, Any], flow_run: FlowRun, reason: str, identity: str
) -> EmailMessage:
    ui_url = PREFECT_UI_URL.value()
    return failure_notice.message(
        name=flow_run.name,
        task=f"{flow.name} {flow_run.id}",
        reason=reason,
        link=f"{ui_url.rstrip('/')}/runs/flow-run/{flow_run.id}" if ui_url else None,
        sender=settings.mail_from,
        recipient=str(settings.alert_email),
        identity=identity,
        sent_at=datetime.now(UTC),
    )
