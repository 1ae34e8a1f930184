"""Meta as a platform, over Meta's own SDK (the extra ``meta``).

A cell's budget is the daily budget of one campaign, or of one ad set, in the account currency's
smallest units. Meta takes no idempotency key; a budget is absolute, so that setting it twice leaves
what once leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import TypeVar

import requests
from facebook_business.adobjects.adset import AdSet
from facebook_business.adobjects.campaign import Campaign
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession

from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable, whole_units
from liftloop.core.policy import BudgetLine, Cell

# Unknown and service errors, and the limits on calls: of the app, the user, the page, the account.
_LATER = {1, 2, 4, 17, 32, 341, 613, *range(80000, 80015)}
_NODES = {"campaign": Campaign, "adset": AdSet}
Answer = TypeVar("Answer")


def api(
    token: str, *, app_secret: str | None, timeout: float, url: str | None = None
) -> FacebookAdsApi:
    """The SDK's client: not its global one, and without its crash reports to Meta."""
    session = FacebookSession(None, app_secret, token, None, timeout)
    if url is not None:
        session.GRAPH = url.rstrip("/")
    return FacebookAdsApi(session)


class MetaPlatform:
    """``budgets``: level (campaign or adset) and id of what has the budget, for each cell."""

    whole = False

    def __init__(
        self,
        client: FacebookAdsApi,
        *,
        budgets: Mapping[Cell, tuple[str, str]],
        minor_units: int,
    ) -> None:
        self.client, self.budgets, self.minor_units = client, budgets, minor_units

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        found = {}
        for cell in cells:
            if cell in self.budgets:
                said = _answered(partial(self._node(cell).api_get, ["daily_budget"]))
                if said.get("daily_budget", "0") != "0":  # 0: its budget is elsewhere, or lifetime
                    found[cell] = self._amount(said["daily_budget"])
        return found

    def set(self, lines: Sequence[BudgetLine]) -> None:
        for line in lines:
            cell = Cell(line.segment, line.channel)
            if cell not in self.budgets:
                raise PlatformRefused(f"no [[platforms.campaigns]] block stands for {cell}")
            units = whole_units(
                line.daily_budget, per_unit=self.minor_units, unit="the currency's smallest units"
            )
            asked = {"daily_budget": units}
            _answered(partial(self._node(cell).api_update, params=asked))

    def _node(self, cell: Cell) -> Campaign | AdSet:
        level, id = self.budgets[cell]
        return _NODES[level](id, api=self.client)

    def _amount(self, said: str) -> Decimal:
        try:
            return Decimal(said) / self.minor_units
        except InvalidOperation:
            raise PlatformRefused("Meta's daily_budget is no number") from None


def _answered(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except FacebookRequestError as error:
        code, status = error.api_error_code(), error.http_status()
        words = f"Meta answered {status}, error {code}: {error.api_error_message()}"
        later = error.api_transient_error() or code in _LATER or code is None or status >= 500
        raise (PlatformUnreachable if later else PlatformRefused)(words) from None
    except requests.RequestException as error:  # its text holds the address, and so the token
        raise PlatformUnreachable(f"no answer from Meta ({type(error).__name__})") from None
