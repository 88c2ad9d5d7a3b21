"""The tables. Natural keys throughout, so that every write can be repeated."""

from datetime import datetime

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, ExcludeConstraint

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _now(name: str) -> Column[datetime]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


assets = Table(
    "assets",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("symbol", Text, nullable=False, unique=True),
    Column("exchange", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("sector", Text),
    # Set by a cleanup: a refresh does not fetch earlier bars, which were removed.
    Column("prices_kept_from", Date),
    _now("updated_at"),
)


def _of_asset() -> Column[int]:
    asset = ForeignKey("assets.id", ondelete="CASCADE")
    return Column("asset_id", Integer, asset, primary_key=True)


# From `first` to `last`, both included: 0001-01-01 is from the beginning, 9999-12-31 is open.
# PostgreSQL itself keeps an asset in one role at a time.
memberships = Table(
    "memberships",
    metadata,
    _of_asset(),
    Column("role", Text, nullable=False),
    Column("first", Date, primary_key=True),
    Column("last", Date, nullable=False),
    CheckConstraint("role in ('constituent', 'benchmark')", name="role"),
    CheckConstraint("first <= last", name="order"),
    ExcludeConstraint(
        (text("int4range(asset_id, asset_id, '[]')"), "&&"),
        (text("daterange(first, last, '[]')"), "&&"),
        using="gist",
        name="one_role_at_a_time",
    ),
)

# The shares of day `as_of`; they count from the session `first` on, and before an asset's first
# count, that counts. `shares` are in the share basis of the stored prices: a split restates them by
# the factor of day `basis`: that of the import, as `imported`, or the newest at a split since then.
# Null is an asset that was published without shares.
share_counts = Table(
    "share_counts",
    metadata,
    _of_asset(),
    Column("first", Date, primary_key=True),
    Column("shares", Double),
    Column("as_of", Date, nullable=False),
    Column("basis", Date, nullable=False),
    Column("imported", Double),
    CheckConstraint("shares > 0", name="shares"),
)

# Who did what, and when. A trigger refuses to change or remove an entry: see revision 0017. An
# asset is named by its id, and a task by its own.
audit = Table(
    "audit",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    _now("at"),
    Column("user_name", Text, nullable=False),
    Column("request_id", Text),
    Column("action", Text, nullable=False),
    Column("subject", Text, index=True),
    Column("before", JSONB(none_as_null=True)),
    Column("after", JSONB(none_as_null=True)),
)

# Adjusted for splits, never for dividends. A trigger checks the assets once a statement, where a
# foreign key would once a row: a million rows are loaded at a time. See revision 0002.
prices = Table(
    "prices",
    metadata,
    Column("asset_id", Integer, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("open", Double, nullable=False),
    Column("high", Double, nullable=False),
    Column("low", Double, nullable=False),
    Column("close", Double, nullable=False),
    Column("volume", BigInteger),
    Index("ix_prices_session", "session"),
)

# When the provider last answered about an asset. `asked_at` is by the data's clock, to compare with
# closes; null where it has to be asked again. `whole_at`, for the whole history, is by the wall
# clock.
fetches = Table(
    "fetches",
    metadata,
    _of_asset(),
    Column("asked_at", DateTime(timezone=True)),
    Column("whole_at", DateTime(timezone=True)),
)

# Closes that jump like a split, and are right: somebody has said so.
confirmed_closes = Table(
    "confirmed_closes",
    metadata,
    _of_asset(),
    Column("session", Date, primary_key=True),
    Column("confirmed_by", Text, nullable=False),
    _now("confirmed_at"),
)

# Histories that the rules refuse, and that somebody accepts: the next one that the provider serves
# replaces the stored one, whatever it is, and the confirmation is used up.
confirmed_histories = Table(
    "confirmed_histories",
    metadata,
    _of_asset(),
    Column("confirmed_at", DateTime(timezone=True), primary_key=True, server_default=func.now()),
    Column("confirmed_by", Text, nullable=False),
    Column("used_at", DateTime(timezone=True)),
)

# `publication` 0 is the index's first, which older installs had before versions were kept.
index_levels = Table(
    "index_levels",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("level", Double, nullable=False),
    Column("publication", Integer, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="1"),
    # The symbols without a settled close; null where the level is final.
    Column("missing", ARRAY(Text)),
)

# The levels that a later publication has replaced. Never removed.
superseded_levels = Table(
    "superseded_levels",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("level", Double, nullable=False),
    Column("publication", Integer, nullable=False),
    Column("replaced_by", Integer, nullable=False),
    Column("missing", ARRAY(Text)),
)

# One row for each computation that has published or changed a level: sessions `first` to `last`,
# when, by which task and why. The first of an index is its launch.
publications = Table(
    "publications",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    Column("strategy", Text, nullable=False),
    Column("frequency", Text, nullable=False),
    Column("first", Date, nullable=False),
    Column("last", Date, nullable=False),
    Column("cause", Text, nullable=False),
    Column("task_id", Uuid),
    Column(
        "published_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.clock_timestamp(),
    ),
    Index("ix_publications_strategy", "strategy", "frequency", "id"),
)

# Changes of what published levels were computed from. The next computation applies one that is not
# pending; a pending one waits until somebody asks. `effect` is what it would change, as a fraction.
corrections = Table(
    "corrections",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("strategy", Text, nullable=False),
    Column("frequency", Text, nullable=False),
    Column("asset_id", Integer),
    Column("session", Date, nullable=False),
    Column("reason", Text, nullable=False),
    Column("pending", Boolean, nullable=False),
    Column("effect", Double),
    _now("noted_at"),
    Index("ix_corrections_strategy", "strategy", "frequency"),
)

# One row per constituent and rebalance session. `units` is the holding behind one index of level
# `level`: weight x level / close, so that a series can continue without older closes. A trigger
# checks the assets, as for prices: see revision 0006. Its pages keep room for splits: see
# revision 0008.
allocations = Table(
    "allocations",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("asset_id", Integer, primary_key=True),
    Column("weight", Double, nullable=False),
    Column("units", Double, nullable=False),
    CheckConstraint("weight >= 0 and weight <= 1", name="weight"),
    # For a split, which restates one asset in every index.
    Index("ix_allocations_asset_id", "asset_id"),
)

# The weights that a later computation has replaced: a row for each rebalance, with empty arrays
# where it had kept the holdings. Never removed.
superseded_allocations = Table(
    "superseded_allocations",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("replaced_at", DateTime(timezone=True), primary_key=True),
    Column("asset_ids", ARRAY(Integer), nullable=False),
    Column("weights", ARRAY(Double), nullable=False),
)

# What the next rebalance of an index decides if no close changes until then, by its newest
# computation. The arrays have one entry for each asset that is held before or after.
pro_formas = Table(
    "pro_formas",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("decided_with", Date, nullable=False),
    Column("next_rebalance", Date, nullable=False),
    Column("turnover", Double, nullable=False),
    Column("asset_ids", ARRAY(Integer), nullable=False),
    Column("weights", ARRAY(Double), nullable=False),
    Column("current_weights", ARRAY(Double), nullable=False),
)

# values: {window: {metric: number or null}}, windows as in autoindex.index.metrics.
metrics = Table(
    "metrics",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("values", JSONB, nullable=False),
)

# The metrics that a later computation has replaced. Never removed.
superseded_metrics = Table(
    "superseded_metrics",
    metadata,
    Column("strategy", Text, primary_key=True),
    Column("frequency", Text, primary_key=True),
    Column("session", Date, primary_key=True),
    Column("replaced_at", DateTime(timezone=True), primary_key=True),
    Column("values", JSONB, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("report_type", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("period_start", Date, nullable=False),
    Column("period_end", Date, nullable=False),
    # Relative to Settings.reports_dir.
    Column("path", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("requested_by", Text),
    _now("created_at"),
)

# A mail is claimed, and the claim committed, before it is handed over to the mail server, so it is
# never sent twice.
deliveries = Table(
    "deliveries",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("recipient", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    _now("claimed_at"),
    Column("sent_at", DateTime(timezone=True)),
    CheckConstraint("status in ('claimed', 'sent', 'refused', 'unknown')", name="status"),
)

# Where a user wants to be told of events. `failing_since` is the first failure since the newest
# success. One that is disabled gets no new deliveries, and those that it has wait.
webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("user_name", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("secret", Text, nullable=False),
    Column("events", ARRAY(Text), nullable=False),
    _now("created_at"),
    Column("failing_since", DateTime(timezone=True)),
    Column("disabled_at", DateTime(timezone=True)),
    Column("disabled_because", Text),
    UniqueConstraint("user_name", "url"),
)

# The outbox: one event for one webhook. Without a next attempt, it is delivered or given up.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("webhook_id", Uuid, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("message_id", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("body", Text, nullable=False),
    _now("created_at"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("next_attempt_at", DateTime(timezone=True), server_default=func.now()),
    Column("outcome", Text),
    Column("delivered_at", DateTime(timezone=True)),
    UniqueConstraint("webhook_id", "message_id"),
    Index(
        "ix_webhook_deliveries_due",
        "webhook_id",
        "next_attempt_at",
        postgresql_where=text("next_attempt_at is not null"),
    ),
)

# Tasks that were cancelled, until somebody has told of their end: one that no worker held has no
# lease whose release would.
cancellations = Table(
    "cancellations",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    _now("asked_at"),
)

# The app fills this table; Autoindex only removes old rows.
news_articles = Table(
    "news_articles",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("asset_id", Integer, ForeignKey("assets.id")),
    Column("published_at", DateTime(timezone=True), nullable=False, index=True),
    Column("headline", Text, nullable=False),
    Column("url", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("body", Text),
)

# Idempotency keys: digests of requests, and the key by which Prefect knows the run of each.
bookings = Table(
    "bookings",
    metadata,
    Column("key", Text, primary_key=True),
    Column("asked", Text, nullable=False),
    Column("run_key", Uuid, nullable=False),
    Column("task_id", Uuid),
    Column(
        "booked_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        index=True,
    ),
)

# `result` becomes null when it expires; the row stays as long as the run is kept.
task_results = Table(
    "task_results",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("result", JSONB),
    _now("created_at"),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
)

# Bumped in the transaction that changes the data; part of every cache key.
data_versions = Table(
    "data_versions",
    metadata,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    _now("changed_at"),
)

# Twelve Data's credits as we account for them: one row per UTC minute and one per UTC day.
credit_ledger = Table(
    "credit_ledger",
    metadata,
    Column("period", Text, primary_key=True),
    Column("starts_at", DateTime(timezone=True), primary_key=True),
    Column("used", Integer, nullable=False, server_default="0"),
    CheckConstraint("period in ('minute', 'day')", name="period"),
    CheckConstraint("used >= 0", name="used"),
)

# The last answer of /api_usage: the plan's limits, and when it was asked.
credit_plan = Table(
    "credit_plan",
    metadata,
    Column("singleton", Boolean, primary_key=True, server_default="true"),
    Column("per_minute", Integer, nullable=False),
    Column("per_day", Integer),
    _now("asked_at"),
    CheckConstraint("singleton", name="singleton"),
)

# Who holds a running task. `token` rises with every holder: writes of earlier ones are refused.
# Without a holder, the row only counts the attempts that have died.
leases = Table(
    "leases",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("holder", Text),
    Column("expires_at", DateTime(timezone=True), nullable=False, index=True),
    Column("deaths", Integer, nullable=False, server_default="0"),
)

# What earlier attempts of a task leave to the next one: retries spent by subtask, and what is done.
checkpoints = Table(
    "checkpoints",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("retries", JSONB, nullable=False, server_default="{}"),
    Column("done", JSONB, nullable=False, server_default="{}"),
    _now("updated_at"),
)

# The progress of a running task, for those who follow it; never decides a status.
task_progress = Table(
    "task_progress",
    metadata,
    Column("task_id", Uuid, primary_key=True),
    Column("step", Text),
    Column("completed", Integer),
    Column("total", Integer),
    Column("what", Text),
    # How many lines the task has logged: the number of the last one.
    Column("lines", Integer, nullable=False, server_default="0"),
    Column("updated_at", DateTime(timezone=True), nullable=False, index=True),
)

# The lines a task has logged, numbered without gaps in the order in which they became visible.
task_lines = Table(
    "task_lines",
    metadata,
    Column(
        "task_id", Uuid, ForeignKey("task_progress.task_id", ondelete="CASCADE"), primary_key=True
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("level", Text, nullable=False),
    Column("text", Text, nullable=False),
)
