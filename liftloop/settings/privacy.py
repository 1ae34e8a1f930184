"""The ``[privacy]`` section: consent, small groups, and how long feeds are kept."""

from __future__ import annotations

from pydantic import Field

from liftloop.core.feeds.consent import ConsentRules
from liftloop.settings.section import Section


class Retention(Section):
    """Days that a feed's rows are kept, counted from their date; None: for good."""

    performance: int | None = Field(None, ge=28)
    holdout: int | None = Field(None, ge=28)
    units: int | None = Field(None, ge=28)
    sales: int | None = Field(None, ge=28)
    events: int | None = Field(None, ge=28)
    experiments: int | None = Field(None, ge=28)
    variants: int | None = Field(None, ge=28)


class Privacy(Section):
    require_consent: bool = Field(
        False, description="of units and events only rows with consent = true are learned from"
    )
    purposes: tuple[str, ...] = Field(
        (), description="of units and events only rows with one of these purposes; (): all"
    )
    minimum_group: int = Field(
        20, ge=0, description="groups of fewer users are not shown or exported; 0: all are"
    )
    retention: Retention = Retention()

    @property
    def consent(self) -> ConsentRules:
        """What rows about persons must say to be learned from."""
        return ConsentRules(self.require_consent, self.purposes)
