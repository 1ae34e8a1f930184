"""liftloop init: the account as options, as answers, or as the first export says it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from liftloop.adapters import initialise
from liftloop.adapters.files.first_file import account_of_file
from liftloop.app.cli import app
from liftloop.app.commands import setup
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.settings.schema import Settings, load_settings
from liftloop.settings.workspace import Workspace
from tasks.context import Loop

run = CliRunner()
GOOGLE = "date,campaign_name,cost_micros,impressions,clicks,currency_code\n"
META = '"Reporting starts","Reporting ends","Campaign name","Impressions","Amount spent (GBP)"\n'
SNAP = "campaign_id,start_time,spend,impressions,swipes\n"


def init(root: Path, *options: str, **more: Any) -> Any:
    return run.invoke(app, ["init", "--workspace", str(root), *options], **more)


def account(root: Path) -> tuple[str, str, str | None]:
    settings = load_settings(Workspace(root)).account
    return settings.currency, settings.timezone, settings.segment


def test_options_become_settings_and_the_rest_stays_the_template(tmp_path: Path) -> None:
    said = init(
        tmp_path / "a", "--currency", "gbp", "--timezone", "Europe/London", "--segment", 'U"K'
    )
    assert said.exit_code == 0, said.output
    assert 'currency GBP, time zone Europe/London, segment U"K' in said.output
    assert account(tmp_path / "a") == ("GBP", "Europe/London", 'U"K')
    text = (tmp_path / "a" / "liftloop.toml").read_text(encoding="utf-8")
    differing = set(text.splitlines()) ^ set(initialise.default_configuration().splitlines())
    assert len(differing) == 6


def test_without_options_and_terminal_nothing_is_asked_and_the_defaults_are_named(
    tmp_path: Path,
) -> None:
    said = init(tmp_path / "a")
    assert account(tmp_path / "a") == ("USD", "UTC", None)
    assert "Nobody said the account's currency and timezone" in said.output


def test_on_a_terminal_it_asks_until_the_answer_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(setup, "sys", terminal)
    said = init(tmp_path / "a", input="XXQ\nGBP\nEurope/London\nUK\n")
    assert "There is no currency 'XXQ'" in said.output
    assert account(tmp_path / "a") == ("GBP", "Europe/London", "UK")


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--currency", "GPB", "There is no currency 'GPB'"),
        ("--currency", "pounds", "There is no currency 'pounds'"),
        ("--timezone", "Londn", "There is no time zone 'Londn'"),
        ("--from", "none.csv", "none.csv does not exist"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_made(
    tmp_path: Path, option: str, value: str, words: str
) -> None:
    said = init(tmp_path / "a", option, value)
    assert isinstance(said.exception, ConfigurationError)
    assert words in str(said.exception)
    assert not (tmp_path / "a").exists()


def test_a_workspace_that_is_there_keeps_its_settings(tmp_path: Path) -> None:
    init(tmp_path / "a", "--currency", "GBP")
    assert init(tmp_path / "a", "--currency", "GBP").exit_code == 0
    said = init(tmp_path / "a", "--currency", "EUR")
    assert isinstance(said.exception, ConfigurationError)
    assert 'set currency = "EUR" under [account]' in said.exception.fix
    assert account(tmp_path / "a")[0] == "GBP"


@pytest.mark.parametrize(
    ("name", "text", "currency", "zone"),
    [
        ("g.csv", GOOGLE + "2026-03-01,a,1000000,1,1,GBP\n", "GBP", None),
        ("m.csv", META + "2026-03-01,2026-03-31,a,1,2.00\n", "GBP", None),
        ("s.csv", SNAP + "a,2026-09-01T00:00:00.000+02:00,1,1,1\n", None, "Europe/Berlin"),
        ("z.csv", SNAP + "a,2026-09-01T00:00:00.000+00:00,1,1,1\n", None, "UTC"),
        (
            "performance.csv",
            "date,segment,channel,spend,currency\n2026-03-01,a,b,1,jpy\n",
            "JPY",
            None,
        ),
        (
            "j.json",
            '[{"date_start":"2026-03-01","date_stop":"2026-03-01","spend":"1",'
            '"account_currency":"CHF","impressions":"1","clicks":"1"}]',
            "CHF",
            None,
        ),
    ],
)
def test_the_first_export_says_what_it_knows(
    tmp_path: Path, name: str, text: str, currency: str | None, zone: str | None
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    read = account_of_file(tmp_path / name)
    assert (read.currency, read.timezone) == (currency, zone)
    said = init(tmp_path / "a", "--from", str(tmp_path / name))
    assert said.exit_code == 0, said.exception
    assert account(tmp_path / "a")[:2] == (currency or "USD", zone or "UTC")
    assert "liftloop ingest" in said.output
    for note in read.notes:
        assert note in said.output


def test_an_offset_of_the_accounts_own_currency_is_preferred(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text(
        SNAP.replace("spend", "currency,spend") + "a,2026-07-01T00:00:00+02:00,ZAR,1,1,1\n",
        encoding="utf-8",
    )
    assert account_of_file(path).timezone == "Africa/Johannesburg"


def test_several_currencies_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "g.csv"
    rows = "2026-03-01,a,1000000,1,1,GBP\n2026-03-02,a,1000000,1,1,EUR\n"
    path.write_text(GOOGLE + rows, encoding="utf-8")
    said = init(tmp_path / "a", "--from", str(path))
    assert isinstance(said.exception, RefusedFile)
    assert "--currency" in said.exception.fix
    assert not (tmp_path / "a").exists()
    assert init(tmp_path / "a", "--from", str(path), "--currency", "EUR").exit_code == 0
    assert account(tmp_path / "a")[0] == "EUR"


def test_a_segment_that_is_not_set_leaves_the_hash_of_the_settings(tmp_path: Path) -> None:
    plain = Loop(Workspace(tmp_path), Settings())
    assert "segment" not in plain.deciding_settings()["account"]
    named = Settings.model_validate({"account": {"segment": "UK"}})
    assert Loop(Workspace(tmp_path), named).settings_hash != plain.settings_hash
