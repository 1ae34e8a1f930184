"""The ``[platforms]`` section: where budgets go, and how patiently."""

from __future__ import annotations

from itertools import combinations
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from liftloop.settings.section import Section

BUILT_IN = ("files", "sql", "http", "google", "meta")
COPIES = ("files", "sql")
_NEEDS = {
    "files": ("path",),
    "sql": (),
    "http": ("url", "secret_env"),
    "google": ("account",),
    "meta": ("secret_env",),
}


class Target(Section):
    """One platform. Secrets are named by their environment variable, never written down."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    kind: str = Field(description="files, sql, http, google, meta, or your own module:function")
    segments: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    path: str | None = Field(None, description="files: the file that holds the budgets in force")
    url: str | None = Field(None, description="the endpoint; sql: the database")
    url_env: str | None = Field(None, description="sql: the variable that holds the address")
    table: str = Field("liftloop_budgets", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    secret_env: str | None = Field(None, description="http: signing secret; meta: access token")
    app_secret_env: str | None = Field(None, description="meta: the app's secret, for its proof")
    account: str | None = Field(None, description="google: the customer id")
    spends: bool | None = Field(
        None, description="whether its budgets are spent; None: all but files and sql, which copy"
    )
    minor_units: int | None = Field(
        None, description="meta: smallest units in one of the currency; None: as Meta has it"
    )

    @property
    def is_spent(self) -> bool:
        """Whether what it is given is spent, and not kept as a copy."""
        return self.kind not in COPIES if self.spends is None else self.spends

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.kind not in BUILT_IN and self.kind.count(":") != 1:
            raise ValueError(f"kind is one of {', '.join(BUILT_IN)}, or your own module:function")
        missing = [key for key in _NEEDS.get(self.kind, ()) if getattr(self, key) is None]
        if missing:
            raise ValueError(f"{self.name}: the kind {self.kind} needs {' and '.join(missing)}")
        if self.kind == "sql" and self.url is None and self.url_env is None:
            raise ValueError(f"{self.name}: the kind sql needs url or url_env")
        if self.minor_units not in (None, 1, 10, 100, 1000):
            raise ValueError(f"{self.name}: minor_units is 1, 10, 100 or 1000")
        self._public_address()
        return self

    def _public_address(self) -> None:
        if self.url is None:
            return
        if urlsplit(self.url).password:
            raise ValueError(
                f"{self.name}: a password does not belong in this file; sql takes url_env, the "
                "name of an environment variable"
            )
        if self.kind == "http" and urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"{self.name}: url is no http(s) address")


class Campaign(Section):
    """Which budget in the advertiser's account stands for a cell."""

    platform: str
    segment: str
    channel: str
    budget_id: str = Field(pattern=r"^[0-9]+$")
    level: Literal["campaign", "adset"] = Field("campaign", description="meta: what has the budget")


class Platforms(Section):
    timeout_seconds: float = Field(10.0, gt=0, description="one call")
    tries: int = Field(3, ge=1, le=10, description="of one call, when the platform is out of reach")
    wait_seconds: float = Field(0.5, ge=0, description="before the second try, then longer")
    breaker_failures: int = Field(5, ge=1, description="in a row, before it is left alone")
    breaker_seconds: float = Field(300.0, gt=0, description="how long it is left alone")
    targets: tuple[Target, ...] = ()
    campaigns: tuple[Campaign, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [target.name for target in self.targets]
        _once(names, "targets: two are called {}")
        _spent_once([target for target in self.targets if target.is_spent])
        _once(
            [f"{c.segment} x {c.channel}" for c in self.campaigns],
            "campaigns: {} is given twice; a cell's money is spent in one place",
        )
        _once(
            [f"{c.platform}: {c.budget_id}" for c in self.campaigns], "campaigns: {} is given twice"
        )
        for campaign in self.campaigns:
            if campaign.platform not in names:
                raise ValueError(f"campaigns: there is no target {campaign.platform!r}")
            if "*" in (campaign.segment, campaign.channel):
                raise ValueError("campaigns: each names one segment and one channel, not '*'")
        return self


def _spent_once(targets: list[Target]) -> None:
    """No cell's budget may go to two places that spend it."""
    for one, other in combinations(targets, 2):
        segment = _shared(one.segments, other.segments)
        channel = _shared(one.channels, other.channels)
        if segment is None or channel is None:
            continue
        what = "every cell" if segment == channel == "*" else f"{segment} x {channel}"
        raise ValueError(
            f"targets: {one.name} and {other.name} would both spend the budget of {what}; give "
            "them different segments or channels, or set spends = false for one that only keeps "
            "a copy"
        )


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> str | None:
    """A name that both patterns hold, "*" where both are any; None where there is none."""
    if "*" in one:
        return "*" if "*" in other else next(iter(other), None)
    if "*" in other:
        return next(iter(one), None)
    return next((name for name in one if name in other), None)


def _once(values: list[str], words: str) -> None:
    twice = [value for n, value in enumerate(values) if value in values[:n]]
    if twice:
        raise ValueError(words.format(twice[0]))
