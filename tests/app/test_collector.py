"""The HTTP door: who may come in, what is answered, and that every row ends in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from liftloop.adapters.deliveries import deliver
from liftloop.adapters.ledger import open_ledger
from liftloop.adapters.settings import Collector, load_settings
from liftloop.adapters.streams.journal import Journal
from liftloop.adapters.workspace import Workspace
from liftloop.app.collector import create_app
from liftloop.app.commands.collect import collect, tokens_of
from liftloop.core.contracts import Account
from liftloop.core.errors import ConfigurationError

TOKEN = "a-token-long-enough"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def event(number: int, **other: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}", "occurred_at": "2026-03-01T10:00:00Z", "segment": "north",
        "revenue": 2.5, **other,
    }  # fmt: skip


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
    answer = client.post("/events", json=event(1), headers={"Authorization": header} if header
                         else {})  # fmt: skip
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
            "received": 4, "to_quarantine": 2, "rules": {"not_a_number": 1, "broken_row": 1},
            "errors": [{"row": 3, "rule": "not_a_number"}, {"row": 4, "rule": "broken_row"}],
        }  # fmt: skip
    journal.close()
    (path,) = fresh_workspace.inbox.glob("*")
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))
    summary = deliver(fresh_workspace, path, engine=engine, account=Account())
    assert (summary.received, summary.stored, summary.superseded) == (5, 2, 1)
    assert dict(summary.rules) == {"broken_row": 1, "not_a_number": 1}


def test_a_request_without_one_sound_row_is_given_back(door: Callable[..., TestClient]) -> None:
    client = door()
    answer = client.post("/events", json=[{"event_id": "x"}, event(1, revenue="much")])
    assert answer.status_code == 400
    assert answer.json()["received"] == 0
    assert answer.json()["errors"] == [
        {"row": 1, "rule": "missing_value"}, {"row": 2, "rule": "not_a_number"},
    ]  # fmt: skip
    assert client.get("/health").json()["accepted"] == 0


def send(client: TestClient, content: bytes, **headers: str) -> httpx.Response:
    return client.post(
        "/events", content=content, headers={"Content-Type": "application/json", **headers}
    )


def test_limits_are_kept_and_said(door: Callable[..., TestClient]) -> None:
    client = door(max_rows=2, max_request_mb=0.001)
    assert client.post("/events", json=[event(1)] * 3).status_code == 413
    assert send(client, b" " * 1_001).status_code == 413
    assert client.post("/events", content=iter([b" " * 600] * 2), headers={
        "Content-Type": "application/json"}).status_code == 413  # fmt: skip
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
