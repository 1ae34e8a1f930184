"""The ledger's tables. Money is whole cents; instants are UTC; JSON is text with sorted keys.

Every row is written under a key derived from what it says: writing it again changes nothing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Index, Integer, MetaData, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


# counts and seeds go beyond 2 ** 31; SQLite's INTEGER has 64 bits anyway
Count = BigInteger().with_variant(Integer(), "sqlite")


class Instant(TypeDecorator[datetime]):
    """An instant in UTC. SQLite drops the zone of what it stores; this gives it back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; the ledger keeps instants in UTC.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(SQLModel):
    """Base of the ledger's tables, with a metadata of its own."""

    metadata = MetaData(naming_convention=NAMING)


def _instant(**more: object) -> Any:
    return Field(sa_type=Instant, **more)  # type: ignore[call-overload]


def _text(**more: object) -> Any:
    return Field(sa_type=Text, **more)  # type: ignore[call-overload]


class Delivery(Table, table=True):
    """One file taken in. ``received = stored + superseded + quarantined``; ``rows_read`` counts
    before an importer aggregates."""

    id: str = Field(primary_key=True)
    feed: str = Field(index=True)
    filename: str
    sha256: str = Field(index=True)
    importer: str
    received_at: datetime = _instant()
    rows_read: int = Field(sa_type=Count)
    received: int = Field(sa_type=Count)
    stored: int = Field(sa_type=Count)
    superseded: int = Field(sa_type=Count)
    quarantined: int = Field(sa_type=Count)
    state: str  # pending: counted, not yet in the facts; stored: done
    facts_version: int | None = Field(default=None, sa_type=Count)
    notes: str = _text(default="[]")


class FactsCommit(Table, table=True):
    """One commit to a feed's Delta table (``kind``: current or history), as it was made: facts that
    say otherwise later were changed by something else."""

    feed: str = Field(primary_key=True)
    kind: str = Field(primary_key=True)
    version: int = Field(primary_key=True, sa_type=Count)
    log_sha256: str  # of its entry in the table's log
    files: str = _text(default="{}")  # data file it added -> sha256


class QuarantinedRow(Table, table=True):
    """A row that broke a rule, kept whole, with the names of the rules it broke."""

    delivery_id: str = Field(primary_key=True, foreign_key="delivery.id")
    row_number: int = Field(primary_key=True, sa_type=Count)
    feed: str = Field(index=True)
    rules: str
    row: str = _text()
    state: str = "open"  # open, readmitted, discarded
    resolved_by: str | None = None


class PolicyVersion(Table, table=True):
    version: str = Field(primary_key=True)
    created_at: datetime = _instant()
    origin: str  # observed, imported, proposed, rollout


class PolicyBudget(Table, table=True):
    version: str = Field(primary_key=True, foreign_key="policyversion.version")
    segment: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    daily_cents: int = Field(sa_type=BigInteger)


class Training(Table, table=True):
    """One training, named by its inputs, and the model version it left in the registry."""

    key: str = Field(primary_key=True)
    as_of: date
    door: str  # holdout or units
    model_name: str
    model_version: str | None = None
    run_id: str | None = None
    facts: str = _text()
    metrics: str = _text(default="{}")
    state: str  # registered, champion, superseded, declined, demoted (taken back)
    reason: str = ""
    examination: str = _text(default="{}")  # the score card that made it champion, or not
    created_at: datetime = _instant()


class Proposal(Table, table=True):
    """What allocation would do with all the money, before approval and rollout have their say."""

    id: str = Field(primary_key=True)
    as_of: date
    policy_version: str = Field(foreign_key="policyversion.version")
    previous_policy_version: str = Field(foreign_key="policyversion.version")
    training_key: str | None = None
    facts: str = _text()  # feed -> Delta versions and content hash
    settings_hash: str
    expected_gain: float  # profit per day against the policy in force, with its 90 % interval
    gain_low: float
    gain_high: float
    share_moved: float  # share of the total that changes cells
    cells: str = _text()  # per cell: why it moved, what holds it
    reason: str = _text()
    created_at: datetime = _instant()


class Decision(Table, table=True):
    """One recorded act of the loop, with all it was based on."""

    id: str = Field(primary_key=True)
    sequence: int = Field(index=True, unique=True)
    kind: str  # move, hold, promote, roll_back, pause
    as_of: date
    effective_from: date = Field(index=True)
    state: str  # proposed, awaiting_approval, in_force, rejected
    policy_version: str = Field(foreign_key="policyversion.version")
    previous_policy_version: str = Field(foreign_key="policyversion.version")
    proposal_id: str | None = Field(default=None, index=True)
    rollout_id: str | None = None
    training_key: str | None = None
    facts: str = _text()  # feed -> Delta versions and content hash
    settings_hash: str
    expected_gain: float  # profit per day against the policy in force, with its 90 % interval
    gain_low: float
    gain_high: float
    reason: str = _text()
    evidence: str = _text(default="{}")
    created_at: datetime = _instant()


class DecisionLine(Table, table=True):
    """A decision's budget for one cell: a row of the export."""

    decision_id: str = Field(primary_key=True, foreign_key="decision.id")
    segment: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    daily_cents: int = Field(sa_type=BigInteger)
    previous_cents: int = Field(sa_type=BigInteger)
    stage: str
    expected: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    reason: str = _text()
    idempotency_key: str = Field(unique=True)


class RolloutRecord(Table, table=True):
    """A staged introduction of a challenger policy; its state is its last transition's."""

    id: str = Field(primary_key=True)
    challenger_version: str = Field(foreign_key="policyversion.version")
    incumbent_version: str = Field(foreign_key="policyversion.version")
    canary_segments: str = _text()
    control_segments: str = _text()
    seed: int = Field(sa_type=Count)  # up to 2 ** 32 - 1
    design: str = _text(default="{}")  # strata, matched controls and stages, as they were drawn
    started_on: date
    stage: str = Field(index=True)
    created_at: datetime = _instant()


class RolloutTransition(Table, table=True):
    key: str = Field(primary_key=True)
    rollout_id: str = Field(foreign_key="rolloutrecord.id", index=True)
    sequence: int = 0  # its place in the rollout; the ledger numbers it
    as_of: date
    from_stage: str
    to_stage: str
    act: str  # start, hold, promote, roll_back, pause, resume
    reason: str = _text()
    evidence: str = _text(default="{}")
    created_at: datetime = _instant()


class MonitorVerdict(Table, table=True):
    key: str = Field(primary_key=True)
    as_of: date
    drifted: bool
    summary: str = _text()
    evidence: str = _text(default="{}")
    report: str | None = None
    created_at: datetime = _instant()


class Pause(Table, table=True):
    """Budget moves stopped by a person for the cells a pattern names, until lifted."""

    id: str = Field(primary_key=True)
    segment: str = "*"
    channel: str = "*"
    reason: str = _text(default="")
    actor: str
    since: datetime = _instant()
    lifted_at: datetime | None = _instant(default=None, nullable=True)


class UserAccount(Table, table=True):
    """A person or a program that may sign in. Without any row the workspace is open to whoever can
    reach it.

    ``state``: active or closed. ``approve_limit_cents``: the most money a day that an approval of
    theirs may move; None: any."""

    name: str = Field(primary_key=True)
    role: str
    password_hash: str = _text()
    state: str = "active"
    approve_limit_cents: int | None = Field(default=None, sa_type=BigInteger)
    failures: int = 0  # wrong passwords in a row
    locked_until: datetime | None = _instant(default=None, nullable=True)
    created_at: datetime = _instant()
    created_by: str


class SignIn(Table, table=True):
    """A sign-in that lasts until it expires or is ended; its token is kept as a hash alone."""

    token_hash: str = Field(primary_key=True)
    name: str = Field(foreign_key="useraccount.name", index=True)
    created_at: datetime = _instant()
    expires_at: datetime = _instant()
    ended_at: datetime | None = _instant(default=None, nullable=True)


class ExperimentRecord(Table, table=True):
    """An experiment on spend, as it was planned, and what became of it.

    ``state``: running (until it is measured, also before its first day), stopped (ended early, not
    yet measured), measured, or unmeasured (nothing can be said; ``reason`` says why)."""

    name: str = Field(primary_key=True)
    channel: str
    starts_on: date
    ends_on: date
    plan: str = _text()  # liftloop.core.experiments.design.Experiment
    promise: str = _text()  # what it was expected to show, and how surely
    actor: str
    created_at: datetime = _instant()
    state: str = Field(index=True)
    stopped_on: date | None = None  # the first day without the change
    stopped_at: datetime | None = _instant(default=None, nullable=True)
    reason: str = _text(default="")
    result: str = _text(default="{}")


class PlaybookNote(Table, table=True):
    """What a person wrote down, of the days ``starts_on`` to ``ends_on`` and the cells that the
    pattern names.

    ``kind``: hypothesis, result, lesson or event. ``about``: the decision, experiment or note that
    it is about; "" where it is about none."""

    id: str = Field(primary_key=True)
    kind: str = Field(index=True)
    text: str = _text()
    starts_on: date
    ends_on: date
    segment: str = "*"
    channel: str = "*"
    about: str = Field(default="", index=True)
    actor: str
    created_at: datetime = _instant()


class Message(Table, table=True):
    """A notification on its way: in order, retried, never lost."""

    key: str = Field(primary_key=True)
    sequence: int = Field(index=True, unique=True)
    kind: str
    text: str = _text()
    blocks: str = _text()
    state: str = "queued"  # queued, delivered, refused, included (in another message)
    created_at: datetime = _instant()


class MessageReceipt(Table, table=True):
    """What came of a message at one channel. ``state``: delivered, refused or, where it is tried
    again, failed; ``problem`` says why."""

    message_key: str = Field(primary_key=True, foreign_key="message.key")
    channel: str = Field(primary_key=True)
    state: str = "failed"
    attempts: int = 0
    problem: str = _text(default="")


class AuditEntry(Table, table=True):
    """The audit trail: append-only, each entry sealed with the hash of the one before it."""

    sequence: int = Field(primary_key=True)
    key: str = Field(unique=True)
    at: datetime = _instant()
    actor: str
    act: str
    subject: str
    payload: str = _text()
    previous_hash: str
    hash: str

    __table_args__ = (Index("ix_auditentry_subject", "subject"),)


class AuditHead(Table, table=True):
    """Where the audit trail ends, in the one row of id 1: written with each entry, so that a trail
    that was cut short is missed. Up to ``signed_entries`` it is signed, where there is a key."""

    id: int = Field(default=1, primary_key=True, sa_type=Count)
    entries: int = Field(sa_type=Count)
    hash: str
    signed_entries: int = Field(default=0, sa_type=Count)
    signed_hash: str = ""
    signature: str = ""


class PlatformWrite(Table, table=True):
    """A decision's budget for one cell on its way to one platform.

    ``state``: intended (not yet begun), failed (begun, and not known to stand there), applied (the
    platform took it), confirmed (read back, and right), differs (read back, and otherwise),
    superseded (a later decision took its place before it was confirmed).
    """

    platform: str = Field(primary_key=True)
    decision_id: str = Field(primary_key=True, foreign_key="decision.id")
    segment: str = Field(primary_key=True)
    channel: str = Field(primary_key=True)
    sequence: int  # the decision's
    idempotency_key: str = Field(index=True)
    wanted_cents: int = Field(sa_type=BigInteger)
    state: str = Field(index=True)
    attempts: int = 0
    found_cents: int | None = Field(default=None, sa_type=BigInteger)  # before it was first set
    read_back_cents: int | None = Field(default=None, sa_type=BigInteger)
    last_error: str = _text(default="")
    created_at: datetime = _instant()
    attempted_at: datetime | None = _instant(default=None, nullable=True)
    settled_at: datetime | None = _instant(default=None, nullable=True)  # last read back


class PlatformBreaker(Table, table=True):
    """A platform's circuit breaker; without a row it is closed."""

    platform: str = Field(primary_key=True)
    state: str  # closed, open, half-open
    failures: int = 0  # in a row
    successes: int = 0  # since it is half-open
    opened_at: datetime | None = _instant(default=None, nullable=True)


class VariantTestRecord(Table, table=True):
    """A test inside a cell, as it was planned, and what became of it.

    ``state``: running, stopped (a person ended it), won (a variant has taken over), or ended (its
    time was over, or there was nothing to find); ``reason`` says why."""

    name: str = Field(primary_key=True)
    channel: str
    starts_on: date
    ends_on: date
    plan: str = _text()  # liftloop.core.variant_tests.plan.VariantTest
    design: str = _text()  # what it was expected to need and to cost
    actor: str
    created_at: datetime = _instant()
    state: str = Field(index=True)
    ended_on: date | None = None
    winner: str = ""
    reason: str = _text(default="")
    changes: str = _text(default="[]")  # variants that came or went: on, variant, ad, gone


class VariantTestReview(Table, table=True):
    """What a test came to on a day, and the shares of its variants from that day on."""

    id: str = Field(primary_key=True)
    test: str = Field(index=True)
    as_of: date
    facts: str  # names the rows it rests on
    reading: str = _text()  # liftloop.pipeline.variant_tests.TestReview
    shares: str = _text()  # variant -> share, JSON
    sentence: str = _text()
    created_at: datetime = _instant()
