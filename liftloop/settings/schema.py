"""The workspace's configuration: typed, frozen, refusing what it does not know.

Read once through :func:`load_settings`, by tasks, flows and the app alone; the core and the models
get the small dataclasses they need.
"""

from __future__ import annotations

import os
import tomllib
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator, model_validator

from liftloop.core.access.escalation import EscalationRule, Trigger
from liftloop.core.errors import ConfigurationError
from liftloop.core.guardrails.outcomes import OutcomeRule
from liftloop.core.quiet_hours import QuietHours
from liftloop.settings.approval import Approval
from liftloop.settings.budget import Budget
from liftloop.settings.platforms import Platforms
from liftloop.settings.privacy import Privacy
from liftloop.settings.section import Section
from liftloop.settings.workspace import Workspace


class RateSettings(Section):
    """What one unit of ``currency`` is worth in the account's, from ``start`` to ``end``."""

    currency: str
    rate: Decimal = Field(gt=0, le=10**9)
    start: date = date.min
    end: date = date.max


class AccountSettings(Section):
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    timezone: str = "UTC"
    segment: str | None = Field(
        None, min_length=1, description="of exports that have neither a segment nor a country"
    )
    rates: tuple[RateSettings, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError):  # unknown; a folder of zones; a path
            raise ValueError(
                f"there is no time zone {value!r}; name one as Europe/Berlin"
            ) from None
        return value


class Outcome(Section):
    """What the loop is to bring more of: revenue, or conversions with or without a value."""

    unit: Literal["revenue", "conversions"] = Field(
        "revenue",
        description="revenue of the feeds; conversions: orders of `sales`, conversions of the "
        "other feeds, whose revenue is then not looked at",
    )
    value: float | None = Field(
        None, gt=0, description="of a conversion, in the account's currency"
    )
    usual_cost: float | None = Field(
        None,
        gt=0,
        description="where no value is known: about what a conversion costs today. It sets the "
        "scale alone; a cost per incremental conversion is shown in the place of an iROAS",
    )

    @property
    def counted(self) -> bool:
        """Whether gains are shown as conversions: no value of one is known."""
        return self.unit == "conversions" and self.value is None

    @property
    def worth(self) -> float:
        """What stands for one conversion in the column of revenue; 1 for revenue itself."""
        return 1.0 if self.unit == "revenue" else float(self.value or self.usual_cost or 1.0)

    @model_validator(mode="after")
    def _a_scale(self) -> Outcome:
        if self.unit == "conversions" and (self.value is None) == (self.usual_cost is None):
            raise ValueError(
                "conversions need either value (what one is worth) or, where that is not known, "
                "usual_cost (about what one costs today)"
            )
        return self


class Model(Section):
    draws: int = Field(200, ge=50)
    fade_per_day: float = Field(0.007, ge=0, description="how fast old evidence loses weight")
    claims: Literal["calibrated", "ignored"] = Field(
        "calibrated", description="what becomes of the revenue platforms attribute to themselves"
    )
    tuning_trials: int = Field(20, ge=0)
    tuning_seconds: float = Field(20.0, ge=0)
    threads: int = Field(2, ge=1)
    seed: int = 0


class ExplorationSettings(Section):
    share: float = Field(
        0.05, ge=0, le=1, description="of the total that may be moved to learn; 0: none"
    )
    horizon_weeks: int = Field(13, ge=0, le=104, description="how long an answer is of use")
    vary: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="of a cell's plan: the most by which its budget is varied on purpose, up or "
        "down by a coin, where only sales can tell what a channel earns; 0: not at all",
    )


class Rollout(Section):
    """How plans are introduced. The keys from ``min_days`` on belong to the version before, which
    tested each plan by itself; they are read and no longer used."""

    enabled: bool = True
    allowance: float = Field(
        0.08,
        ge=0,
        description="loss per quarter that is tolerated: below 1 a share of what the replaced "
        "budgets earn in incremental profit before the spend, else account currency",
    )
    shadow_days: int = Field(0, ge=0, description="days of keeping a plan before the first wave")
    canary_share: float = Field(0.3, gt=0, le=1, description="share of the segments in wave 1")
    ramp: tuple[float, ...] = Field((0.6,), description="shares of the segments up to each wave")
    alpha: float = Field(0.05, gt=0, lt=0.5)
    wait_days: int = Field(3, ge=0, description="carry-over and late conversions settle first")
    cooldown_days: int = Field(28, ge=0)
    min_days: int = Field(14, ge=1)
    ramp_min_days: int = Field(7, ge=1)
    max_days: int = Field(56, ge=1)
    margin: float = Field(0.1, ge=0)
    grave_loss: float = Field(0.3, gt=0)
    loss_budget: float | None = Field(None, gt=0)
    inconclusive: Literal["roll_back", "hold"] = "roll_back"
    newer: Literal["wait", "replace"] = "wait"

    @model_validator(mode="after")
    def _waves(self) -> Self:
        if any(not 0 < share <= 1 for share in self.ramp):
            raise ValueError("ramp holds shares above 0, at most 1")
        return self

    @property
    def superseded(self) -> tuple[str, ...]:
        """What became of the keys of the version before that are set, one sentence each."""
        return tuple(
            f"[rollout] {name} = {getattr(self, name)!r} {became}"
            for name, became in SUPERSEDED.items()
            if name in self.model_fields_set
        )


SUPERSEDED = {
    "min_days": "has no effect any more: waves follow week by week.",
    "ramp_min_days": "has no effect any more: waves follow week by week.",
    "max_days": "has no effect any more: plans flow on, none has an end.",
    "margin": "has no effect any more: how much may be lost is allowance.",
    "grave_loss": "has no effect any more: how much may be lost is allowance.",
    "loss_budget": "has no effect any more: how much may be lost in a quarter is allowance.",
    "inconclusive": "has no effect any more: what is not proven holds a part of allowance.",
    "newer": "has no effect any more: every new plan enters the first wave.",
}


class Promotion(Section):
    """What a new model is held to before it is in force, and an old one while it is."""

    margin: float = Field(0.02, ge=0, description="a refresh may be worse by this share at most")
    superiority: float = Field(0.0, ge=0, description="another kind must be better by this share")
    alpha: float = Field(0.05, gt=0, lt=0.5)
    bootstrap: int = Field(500, ge=100)
    tolerance: float = Field(0.25, gt=0, lt=1, description="how far calibration may be off")
    step: float = Field(0.5, ge=0, le=1, description="how far the plans that are compared may go")
    demote: bool = Field(True, description="a champion that decays in use goes back")
    decay_alpha: float = Field(0.01, gt=0, lt=0.5)


class OutcomeGuardrail(Section):
    """An outcome of user-level tests that must not get worse by more than ``margin``, in its own
    unit a user: 0.01 of a 0/1 outcome is one user in a hundred."""

    outcome: str = Field(min_length=1, description="a column of the units feed: y_..., converted")
    worse: Literal["lower", "higher"] = "lower"
    margin: float = Field(0.0, ge=0)


class Guardrails(Section):
    """Beside incremental profit, which ``[rollout]`` sets. Shares are between 0 and 1."""

    revenue: Literal["if_reported", "required", "off"] = "if_reported"
    revenue_margin: float = Field(0.05, gt=0, description="tolerated fall of first-party sales")
    conversion_cost: Literal["if_reported", "required", "off"] = "if_reported"
    conversion_cost_margin: float = Field(
        0.5, gt=0, description="tolerated rise of the cost per incremental conversion"
    )
    underspend: float = Field(0.7, ge=0, lt=1, description="spend over budget that is too little")
    overspend: float = Field(1.3, gt=1, description="spend over budget that is too much")
    channel_share: float = Field(0.8, gt=0, le=1, description="the most one channel may grow to")
    sample_ratio_alpha: float = Field(0.001, gt=0, lt=0.5)
    total_change: float = Field(
        0.5, gt=0, le=1, description="share of the total that a plan may move at once"
    )
    stale_days: int = Field(7, ge=1, description="nothing moves on facts that are older")
    model_days: int = Field(90, ge=1, description="nothing moves by a model that is older")
    outcomes: tuple[OutcomeGuardrail, ...] = Field(
        (), description="outcomes that user-level tests must not harm"
    )

    @property
    def outcome_rules(self) -> tuple[OutcomeRule, ...]:
        """The guarded outcomes as the core judges them."""
        return tuple(OutcomeRule(one.outcome, one.worse, one.margin) for one in self.outcomes)


class Data(Section):
    max_lag_days: int = Field(3, ge=1, description="facts that are older are late")
    default_days: int = Field(
        10, ge=0, le=14, description="days of a late feed that a default may stand in for"
    )
    stable_days: int = Field(
        2, ge=1, le=14, description="sound days after which a paused cell moves again"
    )
    health_checks: bool = Field(True, description="off: facts are believed as they come")
    history_days: int = Field(730, ge=28)
    outcome_days: int | None = Field(
        None,
        ge=1,
        description="user-level tests: days from assignment that outcomes and cost are of, where "
        "the rows do not say",
    )


class Drift(Section):
    threshold: float = Field(0.2, gt=0)
    share: float = Field(0.5, gt=0, le=1)
    window_days: int = Field(28, ge=7)
    max_rows: int = Field(100_000, ge=1000)
    cooldown_days: int = Field(
        7, ge=0, description="least days between two trainings that alarms ask for"
    )


class Notify(Section):
    slack_webhook: str | None = None
    secret_block: str | None = Field(
        None, min_length=1, description="a Prefect Secret block that holds the webhook; it wins"
    )
    base_url: str | None = Field(
        None, pattern=r"^https?://", description="where the workspace's reports are served"
    )
    dashboard_url: str | None = Field(
        None,
        pattern=r"^https?://",
        exclude=True,  # no plan rests on it, as on none of those below
        description="the dashboard's address, for links and buttons",
    )
    urls: tuple[str, ...] = Field(
        (), exclude=True, description="Apprise addresses of further channels: Teams, e-mail"
    )
    urls_block: str | None = Field(
        None,
        min_length=1,
        exclude=True,
        description="a Prefect Secret block that holds them, one a line; it wins",
    )
    quiet: str | None = Field(None, description="HH:MM-HH:MM in the account's time zone")

    @field_validator("quiet")
    @classmethod
    def _hours(cls, value: str | None) -> str | None:
        if value is not None:
            QuietHours.parse(value)
        return value


class Access(Section):
    """How people sign in, where the workspace has accounts, and how long an approval can wait."""

    session_hours: float = Field(12, gt=0, le=24 * 31, description="a sign-in lasts this long")
    lock_after: int = Field(5, ge=1, le=100, description="wrong passwords in a row")
    lock_minutes: float = Field(15, gt=0, le=24 * 60)
    sign_in_header: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9-]+$",
        description="a header in which a trusted proxy in front of the page names who signed in",
    )
    approve_within_days: int = Field(
        14, ge=1, le=366, description="a decision that waits longer is withdrawn"
    )


class WorthSettings(Section):
    """A standing holdout: segments whose budgets stay, to measure the loop itself by."""

    segments: tuple[str, ...] = ()
    share: float = Field(0.0, ge=0, le=0.5, description="of the segments, drawn by ``seed``")
    seed: int = 0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.segments and self.share > 0:
            raise ValueError("name segments or give a share, not both")
        return self


class StreamSettings(Section):
    """Redis Streams, beside files: one stream a feed."""

    url: str | None = Field(None, description="None: no streams; LIFTLOOP_REDIS_URL wins")
    prefix: str = Field("liftloop:", description="of a stream's key, before the feed's name")
    feeds: tuple[Literal["performance", "holdout", "units", "sales", "events"], ...] = ("events",)
    group: str = Field("liftloop", min_length=1)
    field: str = Field("json", min_length=1, description="the field that holds a row as JSON")
    batch_rows: int = Field(50_000, ge=1, le=1_000_000)
    batch_seconds: float = Field(2.0, gt=0, le=20)
    batch_mb: float = Field(64.0, gt=0)
    run_seconds: float = Field(290.0, gt=0, description="after so long a run begins no batch")
    max_lag_seconds: float = Field(900.0, gt=0, description="older unread rows are told as late")
    tell_minutes: float = Field(15.0, ge=0, description="between two events of new facts")
    claim_seconds: float = Field(120.0, gt=0, description="silence after which one counts as dead")
    trim: bool = Field(True, description="let go of entries that every group has acknowledged")


class Collector(Section):
    """The HTTP door for single events."""

    max_request_mb: float = Field(5.0, gt=0)
    max_rows: int = Field(10_000, ge=1)
    max_waiting_mb: float = Field(64.0, gt=0, description="not yet on the disk; more is refused")
    max_connections: int = Field(1024, ge=1)
    segment_mb: float = Field(32.0, gt=0)
    segment_seconds: float = Field(60.0, gt=0)
    token_file: Path | None = Field(None, description="LIFTLOOP_COLLECTOR_TOKEN wins")


class Audit(Section):
    """Anchors of the audit trail outside of the ledger, beside outbox and messages."""

    key_file: Path | None = Field(None, description="holds the secret that signs the trail's head")
    anchor: str | None = Field(
        None, min_length=1, description="a file that only grows, or a bucket: s3://name/folder"
    )


class Settings(Section):
    """Everything ``liftloop.toml`` may say."""

    account: AccountSettings = AccountSettings()
    outcome: Outcome = Outcome()
    budget: Budget = Budget()
    model: Model = Model()
    exploration: ExplorationSettings = ExplorationSettings()
    rollout: Rollout = Rollout()
    guardrails: Guardrails = Guardrails()
    promotion: Promotion = Promotion()
    data: Data = Data()
    drift: Drift = Drift()
    notify: Notify = Notify()
    worth: WorthSettings = WorthSettings()
    streams: StreamSettings = StreamSettings()
    collector: Collector = Collector()
    # not dumped: where budgets go decides nothing about them, so no plan's key rests on it
    platforms: Platforms = Field(Platforms(), exclude=True)
    audit: Audit = Field(Audit(), exclude=True)  # decides nothing about budgets either
    privacy: Privacy = Field(Privacy(), exclude=True)  # what decides of it is named apart
    access: Access = Field(Access(), exclude=True)  # nor do people's rights
    approval: Approval = Field(Approval(), exclude=True)  # what is asked is in each decision
    cycle_days: int = Field(7, ge=1, le=31)
    ledger_url: str | None = Field(None, description="default: ledger.db in the workspace")

    @property
    def escalation_rules(self) -> tuple[EscalationRule, ...]:
        """Which plans wait for whom; ``approve_above`` is a rule that whoever may approve decides
        on."""
        rules = tuple(one.rule for one in self.approval.rules)
        above = self.budget.approve_above
        if above is None:
            return rules
        usual = EscalationRule(Trigger.SIZE, above, self.access.approve_within_days)
        return (usual, *rules)

    @property
    def moves_unasked(self) -> float | None:
        """The share of the money that may move without anybody being asked; None: all of it."""
        limits = [rule.limit for rule in self.escalation_rules if rule.trigger == Trigger.SIZE]
        return min(limits, default=None)

    @model_validator(mode="after")
    def _money_for_a_total_that_moves(self) -> Settings:
        if self.outcome.counted and self.budget.total_is != "fixed":
            raise ValueError(
                "what a conversion is worth is not known, so the total cannot follow what pays: "
                'set outcome.value, or budget.total_is = "fixed"'
            )
        return self


def parse_settings(values: dict[str, Any], *, source: str) -> Settings:
    """Settings from plain values; a wrong key or value becomes one sentence that names it."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"{source}: {key or 'file'}: {first['msg']}.", fix="correct or remove that key."
        ) from None


@lru_cache(maxsize=8)
def _read(path: Path, stamp: tuple[int, int]) -> Settings:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or a number without end
        raise ConfigurationError(f"{path.name}: {error}.", fix="mend the file.") from None
    return parse_settings(values, source=path.name)


def load_settings(workspace: Workspace) -> Settings:
    """The workspace's settings, cached until the file changes. LIFTLOOP_LEDGER_URL wins for the
    ledger, so that a password need not stand in the file."""
    if not workspace.config.is_file():
        raise ConfigurationError(
            f"{workspace.root} is not a workspace (it has no liftloop.toml).",
            fix=f"make one: liftloop init --workspace {workspace.root}",
        )
    stat = workspace.config.stat()
    settings = _read(workspace.config, (stat.st_mtime_ns, stat.st_size))
    url = os.environ.get("LIFTLOOP_LEDGER_URL") or settings.ledger_url
    return settings.model_copy(update={"ledger_url": url or file_ledger_url(workspace)})


def file_ledger_url(workspace: Workspace) -> str:
    """The address of the ledger inside the workspace, which holds where no other is set."""
    return f"sqlite:///{workspace.ledger.resolve()}"
