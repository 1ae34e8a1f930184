"""Bad mapping files, options, settings and budgets; and what the command line says of bad input.

An expected refusal is one sentence on the standard error and exit status 2 (3 where an outside
service failed), never a traceback, not even Prefect's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.quarantine import open_rows
from liftloop.adapters.facts.read_facts import facts_version
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.files.budget_files import read_policy
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.adapters.ledger.tables import Decision
from liftloop.app import cli
from liftloop.core.errors import ConfigurationError, LiftLoopError, RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.operate.budget_acts import set_budgets

SALES, SOLD = "date,segment,orders,revenue", "2026-03-01,a,4,90.5"
MAP = 'feed = "sales"\n[rename]\nday = "date"\nn = "orders"\nsum = "revenue"\n'
SEGMENT = '[constants]\nsegment = "a"\n'
MAPS: dict[str, tuple[str | bytes, str]] = {
    "no TOML": ("feed = [", "shop.toml"),
    "not UTF-8": (b'feed = "\xff"', "shop.toml"),
    "empty": ("", "feed is None"),
    "an unknown feed": (MAP.replace("sales", "profits"), "feed is 'profits'"),
    "an unknown key": ('code = "import os"\n' + MAP + SEGMENT, "unknown key 'code'"),
    "an unknown column": (MAP + '[constants]\nsegment = "a"\ncolor = "red"\n', "'color'"),
    "a column it does not give": (MAP, "gives no segment"),
    "a column it gives twice": (MAP + SEGMENT + '[derived]\nsegment = "day"\n', "'segment'"),
    "two delimiters": (MAP + SEGMENT + '[read]\ndelimiter = ";;"\n', "delimiter"),
    "negative rows to skip": (MAP + SEGMENT + "[read]\nskip_rows = -1\n", "skip_rows"),
    "an encoding of another world": (MAP + SEGMENT + '[read]\nencoding = "klingon"\n', "klingon"),
    "a column the table lacks": (MAP.replace("day", "when") + SEGMENT, "when"),
    "code for an expression": (
        MAP + "[derived]\nsegment = \"__import__('os').system('true')\"\n",
        "shop",
    ),
    "an expression that is none": (MAP + '[derived]\nsegment = "1 +"\n', "shop"),
    "a wildcard that fits nothing": (
        MAP.replace('"date"', '"date"\n"*_x" = "x_*"') + SEGMENT,
        "no column fits '*_x'",
    ),
    "two wildcards on one column": (
        MAP.replace("n =", '"s*" =').replace("sum =", '"*um" =') + SEGMENT,
        "'sum' fits 's*'",
    ),
    "two stars": (MAP.replace("sum", '"*u*"') + SEGMENT, "needs one *"),
    "a period without days": (
        MAP.replace('day = "date"\n', "") + SEGMENT + '[period]\nstart = "day"\n',
        "does not say how many days",
    ),
    "a period beside a day": (
        MAP + SEGMENT + '[period]\nstart = "day"\ndays = 7\n',
        "both give the date",
    ),
    "a period of no column": (
        MAP.replace('day = "date"\n', "") + SEGMENT + "[period]\ndays = 7\n",
        "names no column of the first or the last day",
    ),
}


@pytest.mark.parametrize("what", MAPS)
def test_a_bad_mapping_is_told_by_name_and_stores_nothing(
    what: str, fresh_workspace: Workspace
) -> None:
    content, says = MAPS[what]
    mapping = fresh_workspace.root / "shop.toml"
    mapping.write_bytes(content if isinstance(content, bytes) else content.encode())
    path = fresh_workspace.inbox / "till.csv"
    path.write_text("day,n,sum\n2026-03-01,4,90.5\n", encoding="utf-8")
    said = _said_of(fresh_workspace, path, ImportOptions(mapping=mapping))
    assert says in said
    assert " Fix: " in said
    assert facts_version(fresh_workspace, "sales") is None


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown feed": ({"feed": "profits"}, "no feed 'profits'"),
    "an unknown importer": ({"importer": "myspace"}, "no importer 'myspace'"),
    "no mapping file": ({"mapping": Path("nowhere.toml")}, "nowhere.toml"),
    "no plugin": ({"plugins": (Path("nowhere.py"),)}, "nowhere.py"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_a_bad_option_is_told_and_leaves_the_file_where_it_is(
    what: str, fresh_workspace: Workspace
) -> None:
    options, says = OPTIONS[what]
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(f"{SALES}\n{SOLD}\n", encoding="utf-8")
    assert says in _said_of(fresh_workspace, path, ImportOptions(**options))
    assert path.exists()
    assert facts_version(fresh_workspace, "sales") is None


@pytest.mark.parametrize("plugin", ["1 / 0", "def f(", "import no_such_module"])
def test_a_broken_plugin_is_told_by_name(plugin: str, fresh_workspace: Workspace) -> None:
    module = fresh_workspace.root / "mine.py"
    module.write_text(plugin, encoding="utf-8")
    path = fresh_workspace.inbox / "sales.csv"
    path.write_text(f"{SALES}\n{SOLD}\n", encoding="utf-8")
    assert "mine.py" in _said_of(fresh_workspace, path, ImportOptions(plugins=(module,)))


def _said_of(workspace: Workspace, path: Path, options: ImportOptions) -> str:
    """What a delivery is answered, be it a refusal or a wrong option."""
    engine = open_ledger(f"sqlite:///{workspace.ledger}")
    try:
        summary = deliver(Intake(workspace, engine, Account()), path, options=options)
    except ConfigurationError as error:
        return str(error)
    assert summary.refused is not None
    return summary.refused


SETTINGS: dict[str, tuple[str | bytes, str]] = {
    "no TOML": ("[account", "liftloop.toml"),
    "not UTF-8": (b'x = "\xff"', "liftloop.toml"),
    "an unknown key": ("[budget]\ntotel = 5\n", "budget.totel"),
    "a negative total": ("[budget]\ntotal = -5\n", "budget.total"),
    "a total that is no number": ('[budget]\ntotal = "NaN"\n', "budget.total"),
    "an infinite margin": ("[budget]\nmargin = inf\n", "budget.margin"),
    "a step above all": ("[budget]\nmax_step = 1.5\n", "budget.max_step"),
    "no currency": ('[account]\ncurrency = "dollars"\n', "account.currency"),
    "a zone of another world": ('[account]\ntimezone = "Mars/Olympus"\n', "account.timezone"),
    "a zone that is a path": ('[account]\ntimezone = "../../etc/passwd"\n', "account.timezone"),
    "a zone that is a continent": ('[account]\ntimezone = "America"\n', "account.timezone"),
    "a rate of zero": ('[[account.rates]]\ncurrency = "EUR"\nrate = 0\n', "account.rates.0.rate"),
}


@pytest.mark.parametrize("what", SETTINGS)
def test_a_bad_setting_is_told_by_its_key(what: str, tmp_path: Path) -> None:
    content, says = SETTINGS[what]
    (tmp_path / "liftloop.toml").write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )
    with pytest.raises(ConfigurationError) as told:
        load_settings(Workspace(tmp_path))
    assert says in str(told.value)


HEAD = "segment,channel,daily_budget"
BUDGETS: dict[str, tuple[str | bytes, str]] = {
    "an empty file": ("", "empty"),
    "a header alone": (HEAD, "no row"),
    "not UTF-8": (f"{HEAD}\nKöln,tv,1\n".encode("latin-1"), "UTF-8"),
    "a workbook": (b"PK\x03\x04xxxx", "Excel"),
    "a missing column": ("segment,channel\na,tv\n", "'daily_budget'"),
    "a column there twice": (f"{HEAD},segment\na,tv,1,b\n", "'segment'"),
    "a cell named twice": (f"{HEAD}\na,tv,1\na,tv,2\n", "again"),
    "no segment": (f"{HEAD}\n,tv,1\n", "'segment'"),
    "a line end in a name": (f'{HEAD}\n"a\nb",tv,1\n', "'segment'"),
    "no amount": (f"{HEAD}\na,tv,\n", "'daily_budget'"),
    "a negative amount": (f"{HEAD}\na,tv,-1\n", "'-1'"),
    "a third of a cent": (f"{HEAD}\na,tv,1.005\n", "'1.005'"),
    "NaN": (f"{HEAD}\na,tv,NaN\n", "'NaN'"),
    "infinity": (f"{HEAD}\na,tv,inf\n", "'inf'"),
    "more than all the money": (f"{HEAD}\na,tv,{10**30}\n", "'1000"),
    "hexadecimal": (f"{HEAD}\na,tv,0x64\n", "'0x64'"),
    "a formula": (f"{HEAD}\na,tv,=1+1\n", "'=1+1'"),
    "an unquoted thousands separator": (f"{HEAD}\nb,tv,5\na,tv,1,234.50\n", "row 2"),
    "a row cut short": (f"{HEAD}\nb,tv,5\na,tv\n", "row 2"),
}


@pytest.mark.parametrize("what", BUDGETS)
def test_bad_budgets_are_refused_by_row_and_none_is_set(
    what: str, fresh_workspace: Workspace
) -> None:
    content, says = BUDGETS[what]
    path = fresh_workspace.root / "plan.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RefusedFile) as told:
        set_budgets(str(fresh_workspace.root), path, start=None, actor="ana")
    assert str(told.value).startswith("Refused plan.csv")
    assert says in str(told.value)
    engine = open_ledger(f"sqlite:///{fresh_workspace.ledger}")
    with session(engine, read_only=True) as db:
        assert db.exec(select(Decision)).all() == []
    assert not list(fresh_workspace.outbox.iterdir())


def test_budgets_are_read_from_csv_and_json_alike(tmp_path: Path) -> None:
    plain, other = tmp_path / "plan.csv", tmp_path / "plan.json"
    plain.write_text("Segment;channel;daily_budget\na;tv;1234.50\n", encoding="utf-8")
    other.write_text('[{"segment": "a", "channel": "tv", "daily_budget": "1234.50"}]')
    assert read_policy(plain) == read_policy(other)
    assert str(read_policy(plain).total) == "1234.50"


# --- the command line ---

Say = Callable[..., tuple[int, str]]


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Say:
    """Runs the program in this process: its exit status and all it printed."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["liftloop", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capfd.readouterr()
        said = printed.out + printed.err
        assert "Traceback" not in said
        return int(ended.value.code or 0), said

    return run


@pytest.mark.usefixtures("prefect_server")
def test_ingest_says_what_it_refused_and_what_it_quarantined(
    say: Say, fresh_workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    place = str(fresh_workspace.root)
    (fresh_workspace.inbox / "a.csv").write_text("")
    (fresh_workspace.inbox / "sales.csv").write_text(f"{SALES}\n{SOLD}\n2026-03-01,b,-1,9\n")
    status, said = say("ingest", "--workspace", place)
    assert status == 2
    assert "Refused a.csv: the file is empty. Fix:" in said
    assert "sales.csv: 2 sales rows, 1 stored, 1 in quarantine (orders_not_negative 1)." in said
    (fresh_workspace.inbox / "sales.csv").write_text(f"{SALES}\n2026-03-02,b,-1,9\n{SOLD}\n")
    status, said = say("ingest", "--workspace", place)
    assert (status, "1 in quarantine" in said) == (0, True)
    assert len(open_rows(open_ledger(f"sqlite:///{fresh_workspace.ledger}"))) == 2
    for words in (("nosuch.csv",), ("--feed", "profits", place + "/liftloop.toml")):
        status, said = say("ingest", *words, "--workspace", place)
        assert status == 2
        assert said.startswith("liftloop: ")
        assert said.count("\n") == 1
    assert not [
        r for r in caplog.records if r.exc_info and isinstance(r.exc_info[1], LiftLoopError)
    ]


def test_what_no_command_can_use_is_one_sentence(
    say: Say, fresh_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(fresh_workspace.root)
    status, said = say("ingest", "--workspace", str(tmp_path / "nowhere"))
    assert (status, said.count("\n")) == (2, 1)
    assert "liftloop init" in said
    status, said = say("budgets", "--set", "nosuch.csv", "--workspace", place)
    assert (status, said.count("\n")) == (2, 1)
    assert "nosuch.csv" in said
    status, said = say("quarantine", "export", "/no/such/mend.csv", "--workspace", place)
    assert (status, said.count("\n")) == (2, 1)
    assert "/no/such/" in said
    monkeypatch.setenv("LIFTLOOP_LEDGER_URL", "postgresql://u:secret@127.0.0.1:1/none")
    status, said = say("budgets", "--workspace", place)
    assert (status, said.count("\n")) == (3, 1)
    assert "secret" not in said
    fresh_workspace.config.write_text("[account\n")
    status, said = say("ingest", "--workspace", place)
    assert (status, said.count("\n")) == (2, 1)
    assert "liftloop.toml" in said


@pytest.mark.usefixtures("prefect_server")
def test_a_program_of_its_own_prints_one_sentence_too(fresh_workspace: Workspace) -> None:
    from prefect.settings import PREFECT_API_URL

    words = ["ingest", "nosuch.csv", "--workspace", str(fresh_workspace.root)]
    ran = subprocess.run(
        [sys.executable, "-m", "liftloop.app.cli", *words],
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr == "liftloop: nosuch.csv does not exist. Fix: correct the path.\n"
    assert ran.stdout == ""
