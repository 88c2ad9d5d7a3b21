"""Report: aggregate, render, store, deliver."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from email.message import EmailMessage
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import State, flow, get_run_logger
from prefect.runtime import flow_run
from sqlalchemy import Connection

from autoindex import sessions
from autoindex.errors import (
    ConfigurationError,
    MailRefused,
    MailUnavailable,
    MailUncertain,
    ReportImpossible,
)
from autoindex.index import metrics
from autoindex.mail_address import MailAddress
from autoindex.reports import files
from autoindex.reports.compose import compose
from autoindex.reports.content import (
    Imprint,
    LevelChange,
    PendingCorrection,
    ProvisionalLevel,
    PublishedPast,
    ReportContent,
)
from autoindex.reports.figures import periods, quality
from autoindex.reports.inputs import AssetFacts, ReportInputs
from autoindex.reports.mail import delivery, links
from autoindex.requests import (
    PUBLISHED_FREQUENCY,
    PUBLISHED_STRATEGY,
    Frequency,
    ReportFormat,
    ReportRequest,
    ReportType,
    Strategy,
)
from autoindex.storage import deliveries, stored_reports
from autoindex.storage.index import allocations, corrections, level_versions, levels, pro_formas
from autoindex.storage.postgres import engines
from autoindex.storage.postgres.transient import until_available
from autoindex.storage.prices import stored_prices, stored_window
from autoindex.storage.stored_reports import StoredReport
from autoindex.storage.universe import assets, memberships, share_counts
from autoindex.storage.universe.published_past import session_after
from flows.attempts import skip_superseded
from flows.attempts.attempt import resumable
from flows.attempts.outcome import finish
from flows.attempts.retry import retrying
from flows.attempts.runtime import Runtime, opened
from flows.visibility import failure_mail, failures, report_artifacts, run_names

USER_TAG = "user:"


@flow(
    name="generate-report",
    flow_run_name=run_names.report,
    on_failure=[failures.track, failure_mail.mail],
)
@resumable
def generate_report(
    report_type: ReportType,
    format: ReportFormat,  # noqa: A002 - the documented name of the field
    email: MailAddress | None = None,
    strategy: Strategy = PUBLISHED_STRATEGY,
    frequency: Frequency = PUBLISHED_FREQUENCY,
) -> dict[str, Any] | State[Any]:
    """Make a report on an index, and mail it if an address is given."""
    request = ReportRequest(
        report_type=report_type,
        format=format,
        email=email,
        strategy=strategy,
        frequency=frequency,
    )
    with opened() as run:
        request.check_mail(run.settings)
        if (end := skip_superseded.skip(run, "report")) is not None:
            return end
        began = time.monotonic()
        content = aggregate(run, request)
        path = render(run, request, content)
        report = store(run, request, content, path)
        result = _summary(report, path) | {"email": deliver(run, request, content, path)}
        result |= {"duration_seconds": round(time.monotonic() - began, 3)}
        report_artifacts.show(run.settings, report, content, path.name)
        return finish(run, "report", result)


@retrying("aggregate")
def aggregate(run: Runtime, request: ReportRequest) -> ReportContent:
    """Read the stored index and compose the report's content."""
    content = compose(_inputs(run, request))
    get_run_logger().info("aggregated %s", content.title)
    return content


def _inputs(run: Runtime, request: ReportRequest) -> ReportInputs:
    which = request.strategy, request.frequency
    with engines.snapshot(run.engine) as connection:
        published = levels.load(connection, *which)
        if published.empty:
            raise ReportImpossible(
                "the index has no levels yet: refresh the prices, or compute the index"
            )
        first, last = published.index[0].date(), published.index[-1].date()
        universe = assets.list_assets(connection)
        held = allocations.load(connection, *which, universe)
        constituents = [a for a in universe if a.symbol in set(held.weights.columns)]
        # A new one is compared with at once.
        reference = memberships.benchmark(connection, session_after(last))
        members = memberships.on(connection, session_after(last), "constituent")
        share_days = share_counts.first_days(share_counts.load(connection))
        # The benchmark may be a stock that was held before.
        priced = {asset.id: asset for asset in (*constituents, reference) if asset}
        # An index that waits for some prices has others that are newer than its last level.
        _, newest = stored_window.read(connection) or (first, last)
        stored = stored_prices.load_closes(connection, [*priced.values()], first, max(last, newest))
        past = _published_past(connection, published, request)
        pro_forma = pro_formas.load(connection, *which)
    closes = stored[: pd.Timestamp(last)]
    benchmark = closes[reference.symbol].dropna() if reference else None
    if benchmark is not None and benchmark.empty:
        benchmark = None
    return ReportInputs(
        report_type=request.report_type,
        strategy=request.strategy,
        frequency=request.frequency,
        index_name=request.index_name,
        levels=published,
        benchmark=benchmark,
        benchmark_name=reference.name if reference else "",
        weights=held.weights,
        units=held.units,
        closes=closes[[asset.symbol for asset in constituents]],
        assets={
            asset.symbol: AssetFacts(asset.name, asset.sector, share_days.get(asset.id))
            for asset in constituents
        },
        metrics=metrics.metrics(published, benchmark),
        benchmark_metrics=(
            {} if benchmark is None else metrics.benchmark_metrics(published, benchmark)
        ),
        generated_at=run.now,
        quality_notes=quality.notes(
            stored[[asset.symbol for asset in constituents]],
            [member.symbol for member in members if member.symbol in closes],
            run.now,
        ),
        # A universe has one currency.
        currency=universe[0].currency,
        published_past=past,
        pro_forma=pro_forma,
        sample_data=run.settings.sandbox,
        imprint=Imprint(
            publisher=run.settings.report_publisher,
            contact=run.settings.report_contact,
            task_id=run.task_id,
            paper=run.settings.report_paper,
        ),
    )


def _published_past(
    connection: Connection, published: pd.Series, request: ReportRequest
) -> PublishedPast | None:
    which = request.strategy, request.frequency
    launch = level_versions.launch(connection, *which)
    if launch is None:
        return None
    provisional = levels.provisional(connection, *which)
    since = sessions.closed_at(periods.newest_base(published, request.report_type))
    replaced = level_versions.superseded(connection, *which, since)
    pending = [one for one in corrections.load(connection, *which) if one.pending]
    return PublishedPast(
        launched_at=launch.at,
        back_tested_until=launch.session,
        provisional=tuple(
            ProvisionalLevel(session=day, missing=tuple(provisional[day]))
            for day in sorted(provisional)
        ),
        changes=tuple(LevelChange(**asdict(one)) for one in replaced),
        pending=tuple(
            PendingCorrection(
                session=one.session, symbol=one.symbol, reason=one.reason, effect=one.effect
            )
            for one in pending
        ),
    )


@retrying("render")
def render(run: Runtime, request: ReportRequest, content: ReportContent) -> Path:
    """Write the file, in a folder of the task's own; a retry replaces it."""
    name = files.suggested_name(content, request.format)
    path = run.settings.reports_dir / str(run.task_id) / name
    files.write(content, request.format, path)
    get_run_logger().info("wrote %s, %d bytes", name, path.stat().st_size)
    return path


@retrying("store report")
def store(run: Runtime, request: ReportRequest, content: ReportContent, path: Path) -> StoredReport:
    """Record the file, so that the facade can serve it."""
    report = StoredReport(
        task_id=run.task_id,
        report_type=request.report_type.value,
        format=request.format.value,
        period_start=content.period.first,
        period_end=content.period.last,
        path=str(path.relative_to(run.settings.reports_dir)),
        media_type=files.KINDS[request.format].media_type,
        size_bytes=path.stat().st_size,
        sha256=sha256(path.read_bytes()).hexdigest(),
        requested_by=_user(),
        created_at=datetime.now(UTC),
    )
    with run.engine.begin() as connection:
        stored_reports.record(connection, report)
    return report


@retrying("deliver")
def deliver(run: Runtime, request: ReportRequest, content: ReportContent, path: Path) -> str:
    """Mail the report if an address is given; the outcome.

    The mail is built and claimed, and the claim committed, before it is sent. A run that dies after
    that leaves the outcome unknown, and the mail is not sent again.
    """
    if request.email is None:
        return "not asked for"
    recipient, sender = str(request.email), run.settings.mail_from
    identity = delivery.message_id(run.task_id, recipient, sender)
    mail = delivery.message(
        content,
        request.format,
        path,
        sender=sender,
        recipient=recipient,
        identity=identity,
        sent_at=datetime.now(UTC),
        link=links.signed(run.settings, run.task_id, datetime.now(UTC)),
    )
    with run.engine.begin() as connection:
        if not deliveries.claim(connection, run.task_id, recipient, identity):
            known = deliveries.find(connection, run.task_id, recipient)
            return known.status if known else "unknown"
    return _send(run, mail, recipient)


def _send(run: Runtime, mail: EmailMessage, recipient: str) -> str:
    outcome: deliveries.Outcome = "unknown"
    try:
        delivery.send(run.settings, mail)
        outcome = "sent"
    except (MailUnavailable, ConfigurationError):
        # Nothing was accepted: a retry may claim it again.
        until_available(run.engine, deliveries.release, run.task_id, recipient)
        raise
    except MailRefused:
        outcome = "refused"
        raise
    except MailUncertain as error:
        get_run_logger().warning("%s", error)
    finally:
        # Also when the run is stopped meanwhile: the outcome is unknown then. After a release there
        # is no claim left to mark.
        _mark(run, recipient, outcome)
    return outcome


def _mark(run: Runtime, recipient: str, status: deliveries.Outcome) -> None:
    # A mail that was sent must not count as unknown because the database is unavailable.
    until_available(run.engine, deliveries.mark, run.task_id, recipient, status)


def _summary(report: StoredReport, path: Path) -> dict[str, Any]:
    return {
        "report_type": report.report_type,
        "format": report.format,
        "period_start": report.period_start.isoformat(),
        "period_end": report.period_end.isoformat(),
        "file": f"/api/v1/reports/{report.task_id}/file",
        "file_name": path.name,
        "media_type": report.media_type,
        "size_bytes": report.size_bytes,
        "sha256": report.sha256,
    }


def _user() -> str | None:
    """The user in the tag that the facade gives a run; None for scheduled runs."""
    tags: list[str] = flow_run.tags or []
    return next((tag.removeprefix(USER_TAG) for tag in tags if tag.startswith(USER_TAG)), None)
