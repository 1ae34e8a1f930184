"""Budgets that a person puts in force keep the rules of every plan, through every door."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.adapters import clock
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Decision
from liftloop.core.access.roles import Caller, Role
from liftloop.core.errors import Declined, NotAllowed, OutsideServiceFailed
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.operate import acts, budget_acts

DAY, NEXT = date(2026, 3, 2), date(2026, 3, 9)
FIRST = {"search": "600.00", "social": "300.00", "tv": "100.00"}


class Shop:
    """Three channels of one segment, 1,000.00 a day."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, budgets: dict[str, str], *, segment: str = "eu") -> Path:
        path = self.root / "mine.csv"
        rows = [f"{segment},{channel},{amount}" for channel, amount in budgets.items()]
        path.write_text("\n".join(["segment,channel,daily_budget", *rows, ""]), encoding="utf-8")
        return path

    def put(self, budgets: dict[str, str], on: date = NEXT, *, segment: str = "eu") -> str:
        path = self.write(budgets, segment=segment)
        return budget_acts.set_budgets(str(self.root), path, start=on, actor="ana")

    def rule(self, text: str) -> None:
        config = self.root / "liftloop.toml"
        said = config.read_text(encoding="utf-8")
        if "=" in text and not text.startswith("["):
            for name in re.findall(r"(?m)^(\w+) =", text):
                said = re.sub(rf"(?m)^{name} = .*$", "", said)
            text, said = "", said.replace("\n[budget]\n", f"\n[budget]\n{text}\n", 1)
        config.write_text(f"{said}\n{text}\n", encoding="utf-8")

    def decisions(self) -> list[Decision]:
        with session(open_loop(self.root).engine, read_only=True) as db:
            return decisions(db)


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace) -> Path:
    root = tmp_path_factory.mktemp("founded") / "shop"
    shutil.copytree(workspace_model.root, root)
    Shop(root).put(FIRST, DAY)
    open_loop(root).engine.dispose()
    return root


@pytest.fixture
def shop(tmp_path: Path, founded: Path) -> Shop:
    shutil.copytree(founded, tmp_path / "shop")
    return Shop(tmp_path / "shop")


@pytest.fixture
def spending(tmp_path: Path, workspace_model: Workspace) -> Shop:
    """Nothing decided; facts of what is spent."""
    root = tmp_path / "shop"
    shutil.copytree(workspace_model.root, root)
    days = pd.date_range("2026-01-05", "2026-03-01")
    rows = [
        (day.date(), "eu", channel, amount, 100, 5, 1, 50)
        for day in days
        for channel, amount in FIRST.items()
    ]
    names = ["date", "segment", "channel", "spend", "impressions", "clicks", "conversions"]
    path = root / "inbox" / "performance.csv"
    pd.DataFrame(rows, columns=[*names, "revenue"]).to_csv(path, index=False)
    loop = open_loop(root)
    assert deliver(intake_of(loop), path).stored == len(rows)
    return Shop(root)


def other(**budgets: str) -> dict[str, str]:
    return FIRST | budgets


REFUSED = {
    "another total": ("", {"search": "1", "social": "1", "tv": "1"}, "the total of 1,000.00"),
    "far too much": ("", other(tv="999999999999.99"), "1,000,000,000,899.99"),
    "a cell left out": ("", {"search": "600.00", "social": "400.00"}, "lacks eu x tv"),
    "a cell nobody knows": ("", other(tv="90.00", radio="10.00"), "eu x radio is in no facts"),
    "a step too far": (
        "",
        other(search="400.00", social="500.00"),
        "eu x search would get 400.00, at least 450.00 is allowed",
    ),
    "a set total": (
        'total = "1100.00"',
        other(tv="101.00", search="599.00"),
        "the total of 1,100.00",
    ),
    "above a ceiling": (
        'total = "900.00"\ntotal_is = "ceiling"',
        other(tv="101.00", search="599.00"),
        "at most 900.00",
    ),
    "a cap": (
        '[[budget.limits]]\nchannel = "tv"\ncap = "110.00"',
        other(tv="120.00", search="580.00"),
        "cap of * x tv (110.00",
    ),
    "a floor": (
        '[[budget.limits]]\nchannel = "tv"\nfloor = "95.00"',
        other(tv="90.00", search="610.00"),
        "floor of * x tv (95.00",
    ),
    "a frozen cell": (
        '[[budget.frozen]]\nchannel = "tv"',
        other(tv="90.00", search="610.00"),
        "frozen at 100.00",
    ),
    "a group": (
        '[[budget.groups]]\nname = "paid"\nchannels = ["social", "tv"]\nmaximum = "400"',
        other(tv="110.00", search="590.00"),
        "maximum of group paid (400.00)",
    ),
    "a share": (
        '[[budget.groups]]\nname = "paid"\nchannels = ["tv"]\nmaximum_share = 0.1',
        other(tv="110.00", search="590.00"),
        "maximum of group paid (100.00)",
    ),
}


@pytest.mark.parametrize(("rule", "budgets", "words"), REFUSED.values(), ids=REFUSED)
def test_budgets_that_break_a_rule_are_refused_by_its_name(
    shop: Shop, rule: str, budgets: dict[str, str], words: str
) -> None:
    shop.rule(rule)
    with pytest.raises(Declined) as told:
        shop.put(budgets)
    assert words in str(told.value)
    assert "Nothing was changed. Correct" in str(told.value)
    assert len(shop.decisions()) == 1


def test_a_paused_cell_is_not_set(shop: Shop) -> None:
    acts.pause(str(shop.root), segment="*", channel="tv", reason="", actor="bo")
    with pytest.raises(Declined, match="paused by bo"):
        shop.put(other(tv="90.00", search="610.00"))
    assert "Set: 3 cells" in shop.put(other(social="290.00", search="610.00"))


def test_budgets_that_keep_the_rules_are_set(shop: Shop) -> None:
    assert "Set: 3 cells, 1,000.00 a day" in shop.put(other(search="590.00", tv="110.00"))
    assert "Set already" in shop.put(other(search="590.00", tv="110.00"))
    shop.rule('total = "1100.00"')
    assert "1,100.00" in shop.put(other(search="690.00", tv="110.00"), date(2026, 3, 16))


def test_a_cell_at_nothing_is_started_by_hand_and_one_outside_its_cap_brought_back(
    spending: Shop,
) -> None:
    spending.put(other(tv="0.00", search="700.00"), DAY)
    spending.rule('[[budget.limits]]\nchannel = "search"\ncap = "400.00"')
    said = spending.put({"search": "400.00", "social": "375.00", "tv": "225.00"})
    assert "Set: 3 cells" in said


def test_more_than_approve_above_waits_and_is_approved_as_every_plan(shop: Shop) -> None:
    shop.rule("approve_above = 0.05")
    said = shop.put(other(search="500.00", tv="125.00", social="375.00"))
    last = shop.decisions()[0]
    assert last.state == "awaiting_approval" and last.id in said and "10% of the money" in said
    assert len(list((shop.root / "outbox").glob("budgets-*.csv"))) == 1  # nothing went out
    assert "Waits" in shop.put(other(search="500.00", tv="125.00", social="375.00"))
    assert len(shop.decisions()) == 2
    assert "Approved" in acts.approve(str(shop.root), last.id, actor="bo")
    assert len(list((shop.root / "outbox").glob("budgets-*.csv"))) == 2


def test_what_waits_is_not_approved_where_a_rule_was_set_since(shop: Shop) -> None:
    shop.rule("approve_above = 0.05")
    shop.put(other(search="500.00", tv="125.00", social="375.00"))
    waiting = shop.decisions()[0].id
    shop.rule('[[budget.limits]]\nchannel = "tv"\ncap = "110.00"')
    with pytest.raises(Declined, match=r"cannot be approved.*cap of \* x tv"):
        acts.approve(str(shop.root), waiting, actor="bo")
    assert "Rejected" in acts.reject(str(shop.root), waiting, reason="", actor="bo")
    with pytest.raises(Declined, match="cap of"):
        shop.put(other(search="500.00", tv="125.00", social="375.00"))


def test_a_rollback_does_not_break_an_amount_that_was_set_since(shop: Shop) -> None:
    shop.put(other(search="620.00", tv="80.00"))
    shop.rule('[[budget.limits]]\nchannel = "tv"\ncap = "90.00"')
    with pytest.raises(Declined, match=r"not put back in force.*cap of \* x tv"):
        budget_acts.roll_back(str(shop.root), to=None, reason="", actor="ana")
    assert len(shop.decisions()) == 2


def test_a_rollback_leaves_no_cell_out(spending: Shop) -> None:
    spending.put(FIRST, DAY)
    path = spending.root / "inbox" / "sales.csv"
    path.write_text("date,segment,channel,spend\n")
    path.unlink()
    spending.rule('[[budget.limits]]\nsegment = "eu"\nchannel = "radio"\ncap = "200.00"')
    spending.put(other(search="590.00", radio="10.00"))
    budget_acts.roll_back(str(spending.root), to=None, reason="", actor="ana")
    newest = max((spending.root / "outbox").glob("*.csv"), key=lambda path: path.stat().st_mtime)
    rows = pd.read_csv(newest, dtype=str).set_index("channel")["daily_budget"]
    assert rows.to_dict() == FIRST | {"radio": "0.00"}


def test_the_first_budgets_are_of_the_cells_and_about_the_money_that_is_spent(
    spending: Shop,
) -> None:
    with pytest.raises(Declined, match="lacks eu x social, eu x tv"):
        spending.put({"search": "1.00"}, DAY)
    with pytest.raises(Declined, match=r"1,000.00 is spent.*at most 1,500.00"):
        spending.put(other(tv="600.01"), DAY)
    with pytest.raises(Declined, match="us x search"):
        spending.put(FIRST, DAY, segment="us")
    assert "Set" in spending.put(other(tv="200.00"), DAY)


@pytest.mark.parametrize("act", ["roll_back", "set", "approve", "reject"])
def test_of_three_at_once_one_acts_and_the_others_say_so(shop: Shop, act: str) -> None:
    place = str(shop.root)
    shop.put(other(search="590.00", tv="110.00"))
    if act in ("approve", "reject"):
        shop.rule("approve_above = 0.0001")
        shop.put(other(search="580.00", tv="120.00"), date(2026, 3, 16))
    before = shop.decisions()
    path = shop.write(other(search="570.00", tv="130.00"))

    def once(number: int) -> str:
        try:
            if act == "roll_back":
                return budget_acts.roll_back(place, to=None, reason="", actor=f"p{number}")
            if act == "set":
                start = date(2026, 3, 16)
                return budget_acts.set_budgets(place, path, start=start, actor=f"p{number}")
            if act == "approve":
                return acts.approve(place, before[0].id, actor=f"p{number}")
            return acts.reject(place, before[0].id, reason="", actor=f"p{number}")
        except (Declined, OutsideServiceFailed) as error:
            return f"declined: {error}"

    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(once, range(3)))
    done = [words for words in said if "already" not in words and "declined" not in words]
    assert len(done) == 1, said
    assert len(shop.decisions()) == len(before) + (act in ("roll_back", "set"))


@pytest.mark.parametrize("act", ["pause", "resume"])
def test_of_three_pauses_at_once_one_is_kept(shop: Shop, act: str) -> None:
    cells = {"segment": "*", "channel": "tv"}
    if act == "resume":
        acts.pause(str(shop.root), **cells, reason="", actor="ana")

    def once(number: int) -> bool:
        try:
            if act == "pause":
                acts.pause(str(shop.root), **cells, reason="", actor=f"p{number}")
            else:
                acts.resume(str(shop.root), **cells, actor=f"p{number}")
        except Declined:
            return False
        return True

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(once, range(3))) == 1


def test_amounts_stay_exact_to_the_cent(shop: Shop) -> None:
    shop.put(other(search="599.99", tv="100.01"))
    assert sum(Decimal(x) for x in ("599.99", "100.01", "300.00")) == Decimal("1000.00")
    with pytest.raises(Declined, match=r"theirs is 1,000\.01"):
        shop.put(other(search="600.01", tv="100.00"), date(2026, 3, 16))


def waiting_plan(shop: Shop, by: str) -> Decision:
    shop.rule("approve_above = 0.05")
    path = shop.write(other(search="500.00", tv="125.00", social="375.00"))
    budget_acts.set_budgets(str(shop.root), path, start=None, actor=by)
    return shop.decisions()[0]


def test_an_approval_is_of_the_plan_that_was_looked_at(shop: Shop) -> None:
    waiting = waiting_plan(shop, "ana")
    place = str(shop.root)
    for other_plan in ("", "0" * 12, waiting.previous_policy_version):
        with pytest.raises(Declined, match="look at it again"):
            acts.approve(place, waiting.id, actor="bo", plan=other_plan)
    assert "Approved" in acts.approve(place, waiting.id, actor="bo", plan=waiting.policy_version)


def test_nobody_who_signed_in_approves_their_own_plan(shop: Shop) -> None:
    waiting = waiting_plan(shop, "bo (entered by ana)")
    place = str(shop.root)
    for name in ("ana", "bo"):
        with pytest.raises(NotAllowed, match="your own plan"):
            acts.approve(place, waiting.id, actor=name, caller=Caller(name, Role.ADMIN))
    assert "Approved" in acts.approve(
        place, waiting.id, actor="cleo", caller=Caller("cleo", Role.ADMIN)
    )


def test_an_approval_keeps_its_limit(shop: Shop) -> None:
    waiting = waiting_plan(shop, "ana")  # 100 of 1,000 a day move
    place = str(shop.root)
    finn = Caller("finn", Role.FINANCE_APPROVER, Decimal("99.99"))
    with pytest.raises(NotAllowed, match=r"moves 100.00 a day; finn may approve up to 99.99"):
        acts.approve(place, waiting.id, actor="finn", caller=finn)
    finn = replace(finn, approve_limit=Decimal(100))
    assert "Approved" in acts.approve(place, waiting.id, actor="finn", caller=finn)


def test_what_waited_too_long_is_not_approved(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = waiting_plan(shop, "ana")
    monkeypatch.setenv("LIFTLOOP_NOW", (clock.now() + timedelta(days=30)).isoformat())
    with pytest.raises(Declined, match="waited longer than 14 days"):
        acts.approve(str(shop.root), waiting.id, actor="bo")
    assert "Rejected" in acts.reject(str(shop.root), waiting.id, reason="", actor="bo")


def test_everything_stops_at_once_and_only_once(shop: Shop) -> None:
    place = str(shop.root)
    assert "Paused: all segments and channels" in acts.stop_all(place, reason="down", actor="bo")
    with pytest.raises(Declined, match="stopped already"):
        acts.stop_all(place, reason="", actor="bo")
    assert "Resumed" in acts.resume(place, segment="*", channel="*", actor="bo")
