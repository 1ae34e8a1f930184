from __future__ import annotations

import sys
import tomllib
import types
from pathlib import Path

import pytest

from liftloop.adapters.platforms.building import build, incomplete, secrets_of
from liftloop.adapters.platforms.sql import SqlPlatform
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell
from liftloop.settings.platforms import Target
from liftloop.settings.schema import Settings, parse_settings
from liftloop.settings.workspace import Workspace
from tasks.context import Loop

FILES = '[[platforms.targets]]\nname = "a"\nkind = "files"\npath = "b.csv"\n'
CAMPAIGN = (
    '[[platforms.campaigns]]\nplatform = "a"\nsegment = "n"\nchannel = "c"\nbudget_id = "1"\n'
)


def settings(text: str) -> Settings:
    return parse_settings(tomllib.loads(text), source="liftloop.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FILES * 2, "two are called a"),
        (FILES.replace('"files"', '"file"'), "kind is one of"),
        (FILES.replace("path", "url"), "needs path"),
        (FILES.replace('"files"', '"http"'), "needs url and secret_env"),
        (FILES.replace('"files"', '"sql"'), "needs url or url_env"),
        (FILES.replace('"files"', '"google"'), "needs account"),
        (FILES.replace('"files"', '"meta"'), "needs secret_env"),
        (FILES + 'url = "postgresql://ann:hunter2@h/x"\n', "a password does not belong"),
        (FILES + "minor_units = 7\n", "minor_units is"),
        (FILES + 'table = "x; drop"\n', "table"),
        (FILES + CAMPAIGN.replace('"a"', '"b"'), "there is no target 'b'"),
        (FILES + CAMPAIGN * 2, "n x c is given twice"),
        (FILES + CAMPAIGN + CAMPAIGN.replace('"n"', '"m"'), "a: 1 is given twice"),
        (FILES + CAMPAIGN.replace('"n"', '"*"'), "one segment and one channel"),
        (FILES + CAMPAIGN.replace('"1"', '"1 OR 2"'), "budget_id"),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        settings(text)
    assert words in str(told.value)
    assert "hunter2" not in str(told.value)


SHOP = '[[platforms.targets]]\nname = "shop"\nkind = "http"\nurl = "https://x"\nsecret_env = "S"\n'
META = '[[platforms.targets]]\nname = "meta"\nkind = "meta"\nsecret_env = "T"\n'


@pytest.mark.parametrize(
    ("shop", "meta", "words"),
    [
        ("", "", "every cell"),
        ('channels = ["search", "social"]\n', 'channels = ["social", "video"]\n', "* x social"),
        ('segments = ["north"]\n', 'channels = ["social"]\n', "north x social"),
    ],
)
def test_two_targets_that_would_spend_one_cell_s_budget_are_both_named(
    shop: str, meta: str, words: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        settings(SHOP + shop + META + meta)
    assert f"shop and meta would both spend the budget of {words}" in str(told.value)
    copy = settings(SHOP + shop + "spends = false\n" + META + meta)
    assert [target.is_spent for target in copy.platforms.targets] == [False, True]


def test_targets_of_other_cells_and_copies_of_all_go_together() -> None:
    apart = 'segments = ["north"]\nchannels = ["search"]\n', 'channels = ["social"]\n'
    together = SHOP + apart[0] + META + apart[1] + FILES
    assert [t.is_spent for t in settings(together).platforms.targets] == [True, True, False]
    with pytest.raises(ConfigurationError, match="meta and a would both spend"):
        settings(META + FILES + "spends = true\n")


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(name="a", kind="sql", url_env="ADS_DATABASE")
    monkeypatch.delenv("ADS_DATABASE", raising=False)
    assert incomplete(target) == (
        "the environment variable ADS_DATABASE is not set",
        "set ADS_DATABASE",
    )
    with pytest.raises(ConfigurationError, match="ADS_DATABASE"):
        build(target, settings=Settings(platforms={"targets": [target]}), workspace=_nowhere())
    monkeypatch.setenv("ADS_DATABASE", "sqlite://")
    assert incomplete(target) is None
    assert isinstance(build(target, settings=Settings(), workspace=_nowhere()), SqlPlatform)


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liftloop.adapters.platforms.building._installed", lambda module: False)
    said = incomplete(Target(name="a", kind="google", account="1"))
    assert said == ("its SDK is not installed", "run: uv sync --extra google")


def test_every_value_of_a_secret_variable_is_kept_out_of_words() -> None:
    environment = {
        "T": "token",
        "P": "proof",
        "D": "postgresql://ann:hunter2@h/x",
        "OTHER": "shown",
        "GOOGLE_ADS_REFRESH_TOKEN": "refresh",
        "GOOGLE_ADS_CLIENT_SECRET": "client",
    }
    meta = Target(name="a", kind="meta", secret_env="T", app_secret_env="P")
    assert set(secrets_of(meta, environment)) == {"token", "proof"}
    sql = Target(name="a", kind="sql", url_env="D")
    assert set(secrets_of(sql, environment)) == {environment["D"], "hunter2"}
    google = Target(name="a", kind="google", account="1")
    assert set(secrets_of(google, environment)) == {"refresh", "client"}


def test_an_own_connector_gets_the_target_and_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("shop_connector")
    seen: list[object] = []

    class Own:
        whole = True

        def read(self, cells: list[Cell]) -> dict[Cell, object]:
            return {}

        def set(self, lines: object) -> None: ...

    def connect(target: Target, policies: object) -> Own:
        seen.extend([target, policies])
        return Own()

    module.connect = connect  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "shop_connector", module)
    target = Target(name="a", kind="shop_connector:connect")
    found = Settings(platforms={"targets": [target]})
    assert isinstance(build(target, settings=found, workspace=_nowhere()), Own)
    assert seen == [target, found.platforms]


def test_where_budgets_go_does_not_change_what_is_decided() -> None:
    nowhere = Loop(_nowhere(), settings(""))
    somewhere = Loop(_nowhere(), settings(FILES))
    assert nowhere.settings_hash == somewhere.settings_hash


def _nowhere() -> Workspace:
    return Workspace(Path("nowhere"))
