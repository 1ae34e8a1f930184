"""Google Ads as a platform, over Google's own SDK (the extra ``google``).

A cell's budget is one campaign budget of the account, DAILY, in micros. Google takes no idempotency
key; a budget is absolute, so that setting it twice leaves what once leaves. Credentials are the
SDK's own ``GOOGLE_ADS_...`` environment variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from google.ads.googleads.client import GoogleAdsClient
from google.ads.googleads.errors import GoogleAdsException
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from google.protobuf.field_mask_pb2 import FieldMask

from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable, whole_units
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import BudgetLine, Cell

MICROS = 1_000_000
_LATER = {
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "UNKNOWN",
    "ABORTED",
    "CANCELLED",
}
Answer = TypeVar("Answer")


def client_from_environment() -> GoogleAdsClient:
    """The SDK's client, from its environment variables.

    Raises
    ------
    ConfigurationError
        If they do not make one.
    PlatformUnreachable
        If Google's authorisation cannot be had now.
    """
    try:
        return GoogleAdsClient.load_from_env()
    except GoogleAuthError as error:
        raise PlatformUnreachable(f"no access to Google Ads ({type(error).__name__})") from None
    except (ValueError, OSError) as error:
        raise ConfigurationError(
            f"platforms: Google Ads' environment variables are not complete "
            f"({type(error).__name__}).",
            fix="set GOOGLE_ADS_DEVELOPER_TOKEN, GOOGLE_ADS_USE_PROTO_PLUS=True and the "
            "credentials, as Google's documentation of its Python client says.",
        ) from None


class GooglePlatform:
    """``budgets``: the campaign budget's id for each cell; ``client`` is made when first used."""

    whole = False

    def __init__(
        self,
        client: Callable[[], Any],
        *,
        account: str,
        budgets: Mapping[Cell, str],
        timeout: float,
    ) -> None:
        self.account = account.replace("-", "")
        self.budgets, self.timeout = budgets, timeout
        self._make, self._made = client, None

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = self._make()
        return self._made

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        named = {self.budgets[cell]: cell for cell in cells if cell in self.budgets}
        if not named:
            return {}
        query = (
            "SELECT campaign_budget.id, campaign_budget.amount_micros, campaign_budget.period "
            f"FROM campaign_budget WHERE campaign_budget.id IN ({', '.join(sorted(named))})"
        )

        def ask() -> list[Any]:
            service = self._client.get_service("GoogleAdsService")
            request = {"customer_id": self.account, "query": query}
            return list(service.search(request=request, timeout=self.timeout, retry=None))

        daily = self._client.enums.BudgetPeriodEnum.DAILY
        rows = [row.campaign_budget for row in _answered(ask)]
        return {
            named[str(budget.id)]: Decimal(budget.amount_micros) / MICROS
            for budget in rows
            if budget.period == daily and str(budget.id) in named
        }

    def set(self, lines: Sequence[BudgetLine]) -> None:
        service = self._client.get_service("CampaignBudgetService")
        operations = [self._operation(service, line) for line in lines]
        request = {"customer_id": self.account, "operations": operations}
        _answered(
            lambda: service.mutate_campaign_budgets(
                request=request, timeout=self.timeout, retry=None
            )
        )

    def _operation(self, service: Any, line: BudgetLine) -> Any:
        cell = Cell(line.segment, line.channel)
        if cell not in self.budgets:
            raise PlatformRefused(f"no [[platforms.campaigns]] block stands for {cell}")
        operation = self._client.get_type("CampaignBudgetOperation")
        operation.update.resource_name = service.campaign_budget_path(
            self.account, self.budgets[cell]
        )
        operation.update.amount_micros = whole_units(
            line.daily_budget, per_unit=MICROS, unit="micros"
        )
        operation.update_mask = FieldMask(paths=["amount_micros"])
        return operation


def _answered(ask: Callable[[], Answer]) -> Answer:
    try:
        return ask()
    except GoogleAdsException as error:
        said = "; ".join(fault.message for fault in error.failure.errors)
        _raise(error.error.code().name, said)
    except (GoogleAPICallError, RetryError) as error:
        code = getattr(error, "grpc_status_code", None)
        _raise(code.name if code is not None else "UNKNOWN", "")
    except GoogleAuthError as error:
        raise PlatformUnreachable(f"no access to Google Ads ({type(error).__name__})") from None
    raise AssertionError("_raise always raises")


def _raise(code: str, said: str) -> None:
    words = f"Google Ads answered {code}" + (f": {said}" if said else "")
    raise (PlatformUnreachable if code in _LATER else PlatformRefused)(words) from None
