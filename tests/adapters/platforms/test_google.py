"""The connector for Google Ads against a local gRPC server that speaks Google's documented API.

The SDK is unchanged: its ``endpoint`` leads to the double, over TLS with a certificate made here.
"""

# ruff: noqa: E402 (what needs the SDK is imported once it is known to be there)
from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.policy import BudgetLine, Cell

WHY = "needs Google's SDK: run uv sync --extra google"
pytest.importorskip("google.ads.googleads", reason=WHY)

import grpc
from google.ads.googleads.client import GoogleAdsClient
from google.auth.credentials import AnonymousCredentials

from liftloop.adapters.platforms.google import GooglePlatform, client_from_environment

VERSION = "v26"
ACCOUNT = "1234567890"
NORTH, SOUTH = Cell("north", "search"), Cell("south", "search")
BUDGETS = {NORTH: "11", SOUTH: "22"}


@dataclass
class AdsDouble:
    """Campaign budgets by id, in micros; ``trouble`` is what becomes of the next call."""

    types: Any
    budgets: dict[str, int] = field(default_factory=dict)
    periods: dict[str, Any] = field(default_factory=dict)
    trouble: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)
    lose_answers: bool = False

    def search(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._meet(request, context)
        match = re.fullmatch(
            r"SELECT campaign_budget.id, campaign_budget.amount_micros, campaign_budget.period "
            r"FROM campaign_budget WHERE campaign_budget.id IN \(([\d, ]+)\)",
            request.query,
        )
        assert match, request.query
        answer = self.types("SearchGoogleAdsResponse")
        for id in match[1].split(", "):
            if id in self.budgets:
                row = self.types("GoogleAdsRow")
                row.campaign_budget.id = int(id)
                row.campaign_budget.amount_micros = self.budgets[id]
                row.campaign_budget.period = self.periods.get(id, 2)  # DAILY
                answer.results.append(row)
        return answer

    def mutate(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._meet(request, context)
        answer = self.types("MutateCampaignBudgetsResponse")
        for operation in request.operations:
            assert list(operation.update_mask.paths) == ["amount_micros"]
            name = operation.update.resource_name
            id = name.removeprefix(f"customers/{ACCOUNT}/campaignBudgets/")
            self.budgets[id] = operation.update.amount_micros
            result = self.types("MutateCampaignBudgetResult")
            result.resource_name = name
            answer.results.append(result)
        if self.lose_answers:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
        return answer

    def _meet(self, request: Any, context: grpc.ServicerContext) -> None:
        assert request.customer_id == ACCOUNT
        self.seen.append({key: str(value) for key, value in context.invocation_metadata()})
        if not self.trouble:
            return
        status, said = self.trouble.pop(0)
        failure = self.types("GoogleAdsFailure")
        error = self.types("GoogleAdsError")
        error.message = said
        failure.errors.append(error)
        name = f"google.ads.googleads.{VERSION}.errors.googleadsfailure-bin"
        content = type(failure).serialize(failure)
        context.set_trailing_metadata(((name, content), ("request-id", "r-1")))
        context.abort(status, said)


def certificate(folder: Path) -> tuple[bytes, bytes]:
    """A key and a certificate for localhost, good for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, made.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[AdsDouble, str]]:
    folder = tmp_path_factory.mktemp("google")
    private, public = certificate(folder)
    (folder / "roots.pem").write_bytes(public)
    plain = GoogleAdsClient(AnonymousCredentials(), developer_token="t", use_proto_plus=True)

    def types(name: str) -> Any:
        return plain.get_type(name)

    double = AdsDouble(types)
    handlers = [
        _handler("GoogleAdsService", "Search", double.search, types("SearchGoogleAdsRequest")),
        _handler(
            "CampaignBudgetService",
            "MutateCampaignBudgets",
            double.mutate,
            types("MutateCampaignBudgetsRequest"),
        ),
    ]
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(handlers)
    credentials = grpc.ssl_server_credentials([(private, public)])
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(folder / "roots.pem"))
        yield double, f"localhost:{port}"
    server.stop(None)


def _handler(service: str, method: str, answer: Any, request: Any) -> grpc.GenericRpcHandler:
    def written(message: Any) -> bytes:
        content: bytes = type(message).serialize(message)
        return content

    rpc: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=type(request).deserialize, response_serializer=written
    )
    name = f"google.ads.googleads.{VERSION}.services.{service}"
    return grpc.method_handlers_generic_handler(name, {method: rpc})


@pytest.fixture
def double(served: tuple[AdsDouble, str]) -> AdsDouble:
    found = served[0]
    found.budgets = {"11": 100_000_000, "22": 200_500_000}
    found.periods, found.trouble, found.seen, found.lose_answers = {}, [], [], False
    return found


@pytest.fixture
def platform(served: tuple[AdsDouble, str]) -> GooglePlatform:
    client = GoogleAdsClient(
        AnonymousCredentials(),
        developer_token="developer-token",
        endpoint=served[1],
        version=VERSION,
        use_proto_plus=True,
    )
    return GooglePlatform(lambda: client, account="123-456-7890", budgets=BUDGETS, timeout=10.0)


def line(cell: Cell, amount: str) -> BudgetLine:
    return BudgetLine(
        "d-1",
        "p-1",
        date(2026, 3, 2),
        cell.segment,
        cell.channel,
        Decimal(amount),
        Decimal("0.00"),
        "full",
        None,
        None,
        None,
        "r",
        f"k-{cell}",
    )


def test_budgets_are_read_from_micros_exactly(double: AdsDouble, platform: GooglePlatform) -> None:
    found = platform.read([NORTH, SOUTH, Cell("east", "search")])
    assert found == {NORTH: Decimal("100"), SOUTH: Decimal("200.5")}
    double.budgets["11"] = 100_000_001
    assert platform.read([NORTH])[NORTH] == Decimal("100.000001")
    assert double.seen[0]["developer-token"] == "developer-token"


def test_a_budget_is_set_in_micros_and_setting_it_again_changes_nothing(
    double: AdsDouble, platform: GooglePlatform
) -> None:
    for _ in range(2):
        platform.set([line(NORTH, "1234567.89")])
        assert double.budgets == {"11": 1_234_567_890_000, "22": 200_500_000}
    assert platform.read([NORTH])[NORTH] == Decimal("1234567.89")


def test_a_budget_that_is_not_daily_is_not_shown(
    double: AdsDouble, platform: GooglePlatform
) -> None:
    double.periods["11"] = 5  # CUSTOM_PERIOD
    assert platform.read([NORTH, SOUTH]) == {SOUTH: Decimal("200.5")}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, PlatformUnreachable),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, PlatformUnreachable),
        (grpc.StatusCode.INTERNAL, PlatformUnreachable),
        (grpc.StatusCode.INVALID_ARGUMENT, PlatformRefused),
        (grpc.StatusCode.PERMISSION_DENIED, PlatformRefused),
        (grpc.StatusCode.UNAUTHENTICATED, PlatformRefused),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(
    double: AdsDouble, platform: GooglePlatform, status: grpc.StatusCode, kind: type[Exception]
) -> None:
    double.trouble = [(status, "Too low.")] * 2
    with pytest.raises(kind, match=status.name):
        platform.read([NORTH])
    with pytest.raises(kind, match=status.name):
        platform.set([line(NORTH, "1.00")])
    assert double.budgets["11"] == 100_000_000


def test_a_refusal_says_why_in_googles_words(double: AdsDouble, platform: GooglePlatform) -> None:
    double.trouble = [(grpc.StatusCode.INVALID_ARGUMENT, "The amount is too low.")]
    with pytest.raises(PlatformRefused, match="The amount is too low"):
        platform.set([line(NORTH, "0.01")])


def test_a_lost_answer_is_unreachable_though_it_was_done(
    double: AdsDouble, platform: GooglePlatform
) -> None:
    double.lose_answers = True
    with pytest.raises(PlatformUnreachable):
        platform.set([line(NORTH, "5.00")])
    assert platform.read([NORTH]) == {NORTH: Decimal(5)}


def test_a_cell_without_a_campaign_is_refused(double: AdsDouble, platform: GooglePlatform) -> None:
    with pytest.raises(PlatformRefused, match="east x search"):
        platform.set([line(Cell("east", "search"), "1.00")])
    assert double.seen == []


def test_variables_that_are_missing_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from liftloop.core.errors import ConfigurationError

    monkeypatch.delenv("GOOGLE_ADS_USE_PROTO_PLUS", raising=False)
    monkeypatch.delenv("GOOGLE_ADS_CONFIGURATION_FILE_PATH", raising=False)
    with pytest.raises(ConfigurationError, match="GOOGLE_ADS_DEVELOPER_TOKEN"):
        client_from_environment()
