"""The HTTP door: who may come in, what is answered, and that every row ends in one place."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.quarantine import open_rows
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.streams import sieve
from liftloop.adapters.streams.entries import rules_broken
from liftloop.adapters.streams.journal import Journal
from liftloop.app.collector.server import create_app
from liftloop.app.commands.inputs.collect import collect, tokens_of
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import Collector, load_settings
from liftloop.settings.workspace import Workspace

TOKEN = "a-token-long-enough"
NOT_PLAIN = "2026-03-01T10:00Z"  # an instant for which the contract is asked
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def event(number: int, **other: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "occurred_at": "2026-03-01T10:00:00Z",
        "segment": "north",
        "revenue": 2.5,
        **other,
    }


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Opens the collector of a workspace: ``door(place, max_rows=2)``."""
    opened: list[tuple[TestClient, Journal]] = []

    def make(place: Workspace | None = None, **limits: Any) -> TestClient:
        journal = Journal(place or Workspace(tmp_path), "events", 10**6, 60)
        journal.open()
        client = TestClient(create_app(journal, Collector(**limits), [TOKEN]), headers=HEADERS)
        client.__enter__()
        opened.append((client, journal))
        return client

    yield make
    for client, journal in opened:
        client.__exit__(None, None, None)
        journal.close()


@pytest.mark.parametrize(
    "header", [None, "", TOKEN, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"]
)
def test_without_the_token_nothing_is_taken(
    door: Callable[..., TestClient], header: str | None
) -> None:
    client = door()
    client.headers.pop("Authorization")
    answer = client.post(
        "/events", json=event(1), headers={"Authorization": header} if header else {}
    )
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert client.get("/health").json()["accepted"] == 0


def test_every_row_that_was_acknowledged_ends_in_one_place(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    journal = Journal(fresh_workspace, "events", 10**6, 60)
    journal.open()
    with TestClient(create_app(journal, Collector(), [TOKEN]), headers=HEADERS) as client:
        first = client.post("/events", json=event(1))
        assert (first.status_code, first.json()) == (202, {"received": 1, "to_quarantine": 0})
        again = client.post("/events", json=[event(1), event(2), event(3, revenue="much"), 7])
        assert again.status_code == 202
        assert again.json() == {
            "received": 4,
            "to_quarantine": 2,
            "rules": {"not_a_number": 1, "broken_row": 1},
            "errors": [{"row": 3, "rule": "not_a_number"}, {"row": 4, "rule": "broken_row"}],
        }
    journal.close()
    (path,) = fresh_workspace.inbox.glob("*")
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))
    summary = deliver(Intake(fresh_workspace, engine, Account()), path)
    assert (summary.received, summary.stored, summary.superseded) == (5, 2, 1)
    assert dict(summary.rules) == {"broken_row": 1, "not_a_number": 1}


CELLS: dict[str, list[Any]] = {
    "event_id": [None, "", " ", "x" * 300, "a\tb", "\ud800", 7, 7.5, True, [1], {}, "\u202eabc"],
    "occurred_at": [
        None,
        1772366400,
        "yesterday",
        "2026",
        "2026-03-01",
        "2026-02-30T10:00:00Z",
        "2026-03-01T25:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "2099-01-01T00:00:00Z",
        "20260301T100000Z",
        [],
        {},
        False,
    ],
    "segment": [None, "", "\u200b", "n" * 1000, "a\nb", 0, -1, ["north"], {"a": 1}],
    "channel": [None, "", "c" * 1000, "a\x00b", 5, {"a": "b"}],
    "unit_id": [None, "u" * 1000, "\x7f"],
    "revenue": [
        None,
        "",
        "much",
        "inf",
        "NaN",
        "-Infinity",
        "1e999",
        "1e300",
        "-2.50",
        "0x10",
        [1],
        {"a": 1},
        True,
        "1,5",
        "1_000",
        "٣",
        " 5 ",
        10**400,
    ],
    "orders": [None, "", "1.5", -1, "1e30", "one", [], True],
    "currency": [None, "", "USD", "usd", "GBP", "XXXX", "U", 5, ["USD"]],
    "reported_at": [
        None,
        "",
        "2099-01-01T00:00:00Z",
        "then",
        "1800-01-01T00:00:00Z",
        5,
        "2026-03-02",
    ],
    " Revenue ": [1, "much"],
    "_broken": [None, "told to be broken"],
    "_entry": ["1-1", {}],
    "x_more": [1, "text", None],
    "": [1],
}


def test_what_is_said_to_go_to_quarantine_goes_there(
    door: Callable[..., TestClient], fresh_workspace: Workspace
) -> None:
    rows: list[Any] = [
        event(at, **{name: value})
        for at, (name, value) in enumerate((n, v) for n, values in CELLS.items() for v in values)
    ]
    rows += [dict.fromkeys(CELLS, "x"), {}, [], None, "text", 5, [event(0)], event(10**6)]
    client = door(fresh_workspace)
    said: dict[int, str] = {}
    for at in range(0, len(rows), 7):  # several requests become one file
        part = [*rows[at : at + 6], event(2_000_000 + at)]
        answer = send(client, json.dumps(part).encode())
        assert answer.status_code == 202, answer.text
        found = {one["row"]: one["rule"] for one in answer.json().get("errors", [])}
        assert answer.json()["to_quarantine"] == len(found)
        said |= {at + row: rule for row, rule in found.items()}
    client.__exit__(None, None, None)
    (path,) = fresh_workspace.inbox.glob("*")
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))
    summary = deliver(Intake(fresh_workspace, engine, Account()), path)
    kept = open_rows(engine)
    assert said == dict(zip(kept["row_number"], kept["rules"], strict=True))
    assert summary.received == summary.stored + summary.superseded + len(said)
    assert len(said) > 60


def test_what_is_sifted_for_one_keeps_nobody_else_waiting(
    door: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = door()
    begun, go_on = threading.Event(), threading.Event()

    def slow(*given: Any, **more: Any) -> Any:
        begun.set()
        assert go_on.wait(20)
        return rules_broken(*given, **more)

    monkeypatch.setattr(sieve, "rules_broken", slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, "/events", json=event(1, occurred_at=NOT_PLAIN))
        assert begun.wait(20)
        try:
            assert client.get("/health").status_code == 200
            assert not first.done()
        finally:
            go_on.set()
        assert first.result().status_code == 202


def test_the_contract_is_asked_of_no_request_whose_rows_are_all_plain(
    door: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = door()
    asked: list[int] = []

    def counted(feed: str, content: bytes, **more: Any) -> Any:
        asked.append(content.count(b"\n"))
        return rules_broken(feed, content, **more)

    monkeypatch.setattr(sieve, "rules_broken", counted)
    assert client.post("/events", json=[event(1), event(2)]).json() == {
        "received": 2,
        "to_quarantine": 0,
    }
    assert asked == []
    mixed = client.post("/events", json=[event(3), event(4, orders=-1), event(5)])
    assert (mixed.json()["to_quarantine"], mixed.json()["errors"]) == (
        1,
        [{"row": 2, "rule": "orders_not_negative"}],
    )
    assert asked == [3]


def test_a_request_that_cannot_be_sifted_spoils_no_other(
    door: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = door()

    def fails(feed: str, content: bytes, **more: Any) -> Any:
        if b"poison" in content:
            raise RuntimeError("ours to repair")
        return rules_broken(feed, content, **more)

    monkeypatch.setattr(sieve, "rules_broken", fails)
    with ThreadPoolExecutor(8) as pool:
        ids = ["poison", *"abcdefg"]
        sent = [
            pool.submit(_status, client, event(1, event_id=one, occurred_at=NOT_PLAIN))
            for one in ids
        ]
        assert [one.result() for one in sent] == [500, *[202] * 7]


def _status(client: TestClient, row: dict[str, Any]) -> int:
    try:
        answer: httpx2.Response = client.post("/events", json=row)
        return answer.status_code
    except RuntimeError:  # the test client passes on what a server answers with 500
        return 500


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8400", 202),
        ("127.0.0.1", 202),
        ("[::1]:8400", 202),
        ("attacker.example", 421),
        ("localhost.attacker.example:8400", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_without_tokens_a_name_made_to_lead_to_this_machine_opens_nothing(
    tmp_path: Path, host: str, status: int
) -> None:
    journal = Journal(Workspace(tmp_path), "events", 10**6, 60)
    journal.open()
    with TestClient(create_app(journal, Collector(), ())) as client:
        assert client.post("/events", json=event(1), headers={"Host": host}).status_code == status
    journal.close()


def test_a_request_without_one_sound_row_is_given_back(door: Callable[..., TestClient]) -> None:
    client = door()
    answer = client.post("/events", json=[{"event_id": "x"}, event(1, revenue="much")])
    assert answer.status_code == 400
    assert answer.json()["received"] == 0
    assert answer.json()["errors"] == [
        {"row": 1, "rule": "missing_value"},
        {"row": 2, "rule": "not_a_number"},
    ]
    assert client.get("/health").json()["accepted"] == 0


def send(client: TestClient, content: bytes, **headers: str) -> httpx2.Response:
    answer: httpx2.Response = client.post(
        "/events", content=content, headers={"Content-Type": "application/json", **headers}
    )
    return answer


def test_limits_are_kept_and_said(door: Callable[..., TestClient]) -> None:
    client = door(max_rows=2, max_request_mb=0.001)
    assert client.post("/events", json=[event(1)] * 3).status_code == 413
    assert send(client, b" " * 1_001).status_code == 413
    assert (
        client.post(
            "/events", content=iter([b" " * 600] * 2), headers={"Content-Type": "application/json"}
        ).status_code
        == 413
    )
    assert send(client, b"{").status_code == 400
    assert send(client, b"[]").status_code == 400
    assert client.post("/events", data={"a": "1"}).status_code == 415
    assert send(client, b"{}", **{"Content-Encoding": "gzip"}).status_code == 415
    assert client.get("/events").status_code == 405
    assert client.get("/health").json()["in_hand_bytes"] == 0


def test_a_disk_that_takes_nothing_is_not_acknowledged(
    door: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = door()

    def full(*_: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "commit", full)
        answer = client.post("/events", json=event(1))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert client.get("/health").status_code == 503
    assert client.post("/events", json=event(1)).status_code == 202
    assert client.get("/health").json()["status"] == "ok"


def test_when_too_much_waits_for_the_disk_the_sender_is_told_to_come_again(
    door: Callable[..., TestClient],
) -> None:
    answer = door(max_waiting_mb=0.0001).post("/events", json=[event(n) for n in range(5)])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("token", [None, "short", f"{TOKEN} short"])
def test_the_collector_does_not_start_without_a_good_token(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    monkeypatch.delenv("LIFTLOOP_COLLECTOR_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("LIFTLOOP_COLLECTOR_TOKEN", token)
    with pytest.raises(ConfigurationError, match="token"):
        tokens_of(fresh_workspace)


def test_tokens_come_from_the_environment_or_a_file(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text(f"{TOKEN}\n{TOKEN}-next\n", encoding="utf-8")
    text = fresh_workspace.config.read_text(encoding="utf-8")
    fresh_workspace.config.write_text(
        text.replace('#token_file = "/run/secrets/liftloop-collector"', f'token_file = "{secret}"'),
        encoding="utf-8",
    )
    monkeypatch.delenv("LIFTLOOP_COLLECTOR_TOKEN", raising=False)
    assert tokens_of(fresh_workspace) == (TOKEN, f"{TOKEN}-next")
    monkeypatch.setenv("LIFTLOOP_COLLECTOR_TOKEN", f"{TOKEN}-other")
    assert tokens_of(fresh_workspace) == (f"{TOKEN}-other",)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "shop.example.com"])
def test_without_a_token_it_listens_on_this_machine_alone(
    fresh_workspace: Workspace, host: str
) -> None:
    with pytest.raises(ConfigurationError, match="this machine alone"):
        collect(fresh_workspace.root, port=0, host=host, insecure_local=True)
