"""The mail about a failed report: a hook of its flow.

Apart from the other hooks, because its imports are as large as those of reports.
"""

from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from typing import Any
from uuid import UUID, uuid5

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.settings import PREFECT_UI_URL
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from autoindex.errors import AutoindexError, ConfigurationError, MailUnavailable
from autoindex.reports.mail import delivery, failure_notice
from autoindex.settings import Settings
from autoindex.storage import deliveries
from autoindex.storage.postgres import engines
from autoindex.storage.postgres.transient import until_available
from flows.visibility.failures import reason_of


def mail(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Mail each alert recipient of the settings once, also if this is called again.

    An error with one recipient does not affect the others; the first error is raised at the end.
    """
    settings = Settings()
    if not settings.alert_recipients:
        return
    engine = engines.engine(settings, "autoindex-failures")
    errors = []
    try:
        for recipient in settings.alert_recipients:
            message = _message(settings, flow, flow_run, reason_of(state), recipient)
            try:
                _send_once(settings, engine, message, recipient, flow_run.id)
            except (AutoindexError, SQLAlchemyError) as error:
                errors.append(error)
    finally:
        engine.dispose()
    if errors:
        raise errors[0]


def _send_once(
    settings: Settings, engine: Engine, message: EmailMessage, recipient: Address, run_id: UUID
) -> None:
    # A claim of its own: the same address may have got the report itself.
    claim_id, to = uuid5(run_id, "failure"), recipient.addr_spec
    if not until_available(engine, deliveries.claim, claim_id, to, message["Message-ID"]):
        return
    try:
        delivery.send(settings, message)
    except (MailUnavailable, ConfigurationError):
        until_available(engine, deliveries.release, claim_id, to)
        raise
    until_available(engine, deliveries.mark, claim_id, to, "sent")


def _message(
    settings: Settings, flow: Flow[Any, Any], flow_run: FlowRun, reason: str, recipient: Address
) -> EmailMessage:
    ui_url = PREFECT_UI_URL.value()
    claim_id = uuid5(flow_run.id, "failure")
    return failure_notice.message(
        name=flow_run.name,
        task=f"{flow.name} {flow_run.id}",
        reason=reason,
        link=f"{ui_url.rstrip('/')}/runs/flow-run/{flow_run.id}" if ui_url else None,
        sender=settings.mail_from,
        recipient=str(recipient),
        identity=delivery.message_id(claim_id, recipient.addr_spec, settings.mail_from),
        sent_at=datetime.now(UTC),
    )
