"""The ``[budget]`` section: how much, for which goal, and under which rules."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Literal, Self

from pydantic import Field, model_validator

from liftloop.core.policy import CENT, MOST
from liftloop.settings.section import Section


class CellPattern(Section):
    segment: str = "*"
    channel: str = "*"


class LimitSettings(CellPattern):
    floor: Decimal = Field(Decimal(0), ge=0, le=MOST)
    cap: Decimal | None = Field(None, ge=0, le=MOST)


class GroupSettings(Section):
    name: str
    segments: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    minimum: Decimal = Field(Decimal(0), ge=0, le=MOST)
    maximum: Decimal | None = Field(None, ge=0, le=MOST)
    minimum_share: float = Field(0.0, ge=0, le=1)
    maximum_share: float | None = Field(None, ge=0, le=1)


class AimSettings(Section):
    name: str
    segments: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    weight: float = Field(1.0, ge=0)
    minimum_share: float = Field(0.0, ge=0, le=1)


class Audience(CellPattern):
    users: int = Field(gt=0)


class GeoMinimum(Section):
    segment: str
    amount: Decimal = Field(Decimal(0), ge=0, le=MOST)
    share: float = Field(0.0, ge=0, le=1)


class Dated(Section):
    """Cells of these segments and channels from ``start`` to ``end``, both included."""

    name: str = Field(min_length=1)
    segments: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    start: date
    end: date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"{self.name}: end {self.end} is before start {self.start}")
        return self

    def touches(self, first: date, days: int) -> bool:
        """Whether it holds on one of ``days`` days from ``first`` on."""
        return self.start < first + timedelta(days=days) and first <= self.end


class CommitmentSettings(Dated):
    """Money promised to be spent, ``amount`` in all; plans spend it evenly, day by day."""

    amount: Decimal = Field(gt=0, le=MOST)

    @property
    def daily(self) -> Decimal:
        """The least a day, rounded up to cents."""
        days = (self.end - self.start).days + 1
        return (self.amount / days).quantize(CENT, ROUND_CEILING)


class BlackoutSettings(Dated):
    """Days on which no budget moves, or on which nothing is spent."""

    no_spend: bool = Field(False, description="nothing is spent in these cells on these days")


class Budget(Section):
    """Money rules. Amounts are per day, in the account's currency. ``"*"`` matches all."""

    total: Decimal | None = Field(
        None, gt=0, le=MOST, description="None: what the policy in force spends"
    )
    total_is: Literal["fixed", "ceiling", "proposal"] = Field(
        "fixed",
        description="fixed: all of the total is spent; ceiling: what pays, the rest is parked; "
        "proposal: another total is proposed where it would earn more",
    )
    margin: float = Field(1.0, gt=0, description="profit per unit of revenue, before the spend")
    max_step: float = Field(0.25, ge=0, le=1)
    sureness: float = Field(
        0.8, ge=0, lt=1, description="least probability that a move gains more than it costs"
    )
    untested_sureness: float = Field(
        0.6, ge=0, lt=1, description="the same where a channel has neither holdout nor lift test"
    )
    switching_cost: float = Field(
        0.05, ge=0, description="what moving one unit of daily budget costs, once"
    )
    limits: tuple[LimitSettings, ...] = ()
    groups: tuple[GroupSettings, ...] = ()
    frozen: tuple[CellPattern, ...] = ()
    approve_above: float | None = Field(
        None, ge=0, description="share of the total that may move without a person's approval"
    )
    objective: Literal["expected_profit", "cvar", "target_iroas", "aims"] = "expected_profit"
    risk_level: float = Field(0.1, gt=0, le=1, description="cvar: the worst share of the draws")
    target_iroas: float | None = Field(None, gt=0, description="target_iroas: revenue per spend")
    target_of: Literal["plan", "last_unit"] = "plan"
    aims: tuple[AimSettings, ...] = ()
    risky: tuple[str, ...] = Field((), description="channels whose exposure is capped together")
    risky_share: float | None = Field(None, ge=0, le=1)
    frequency_per_week: float | None = Field(
        None, gt=0, description="impressions per user and week"
    )
    audiences: tuple[Audience, ...] = ()
    geo_minima: tuple[GeoMinimum, ...] = ()
    commitments: tuple[CommitmentSettings, ...] = Field(
        (), description="least amounts that were promised, with their dates"
    )
    blackouts: tuple[BlackoutSettings, ...] = Field((), description="days without moves")
    targeted: tuple[CellPattern, ...] = Field(
        (), description="cells whose budget reaches users in the order of the exported rule"
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.objective == "target_iroas" and self.target_iroas is None:
            raise ValueError("the objective target_iroas needs the key target_iroas")
        if self.objective == "aims" and not self.aims:
            raise ValueError("the objective aims needs at least one block [[budget.aims]]")
        if self.total_is == "ceiling" and self.total is None:
            raise ValueError(
                'total_is = "ceiling" needs the key total: the most that may be spent a day'
            )
        if bool(self.risky) != (self.risky_share is not None):
            raise ValueError("risky and risky_share are given together")
        return self

    def blackouts_on(self, day: date) -> tuple[tuple[str, str, str], ...]:
        """(segment, channel, why) of the cells whose budgets may not move on ``day``."""
        return tuple(
            (
                segment,
                channel,
                f"no {'spend' if one.no_spend else 'moves'} until {one.end}: {one.name}",
            )
            for one in self.blackouts
            if one.touches(day, 1)
            for segment in one.segments
            for channel in one.channels
        )
