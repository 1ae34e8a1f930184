"""Whatever fails amid a decision, a platform never spends more than the larger of both totals."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.curves.gain import budget_lines
from liftloop.core.policy import BudgetLine, Cell, Policy
from tasks.operate.platform_sync import HELD_BACK, set_budgets

DAY = date(2026, 3, 2)
CELLS = [Cell(f"s{n}", "search") for n in range(5)]
CENTS = st.lists(st.integers(0, 10_000), min_size=5, max_size=5)


class Fickle:
    """Budgets in memory; ``moods`` says what becomes of each call: f(ine), r(efused), l(ost)."""

    whole = False

    def __init__(self, stands: dict[Cell, Decimal], moods: list[str]) -> None:
        self.stands, self.moods, self.most = dict(stands), list(moods), sum(stands.values())
        self.order: list[Cell] = []

    def read(self, cells: Sequence[Cell]) -> dict[Cell, Decimal]:
        return dict(self.stands)

    def set(self, lines: Sequence[BudgetLine]) -> None:
        (line,) = lines
        cell = Cell(line.segment, line.channel)
        self.order.append(cell)
        mood = self.moods.pop(0) if self.moods else "f"
        if mood == "r":
            raise PlatformRefused("no")
        self.stands[cell] = line.daily_budget
        self.most = max(self.most, sum(self.stands.values()))
        if mood == "l":
            raise PlatformUnreachable("lost")


def lines_of(before: dict[Cell, Decimal], after: dict[Cell, Decimal]) -> tuple[BudgetLine, ...]:
    return budget_lines(
        decision_id="d", effective_from=DAY, policy=Policy.of(after), previous=Policy.of(before)
    )


def money(*amounts: str) -> dict[Cell, Decimal]:
    return dict(zip(CELLS, map(Decimal, amounts), strict=False))


@settings(max_examples=60, deadline=None)
@given(before=CENTS, after=CENTS, moods=st.lists(st.sampled_from("frl"), max_size=12))
def test_however_it_fails_no_more_than_the_total_is_ever_spent(
    before: list[int], after: list[int], moods: list[str]
) -> None:
    old, new = (money(*(str(Decimal(n) / 100) for n in amounts)) for amounts in (before, after))
    there = Fickle(old, moods)
    for _ in range(2 + len(moods)):
        errors = set_budgets(there, lines_of(old, new), there.read([]))
    assert there.stands == new
    assert errors == {}
    assert there.most <= max(sum(old.values()), sum(new.values()))


def test_cuts_come_first_and_the_largest_raise_last() -> None:
    old, new = money("10", "10", "10", "10"), money("14", "7", "11", "8")
    there = Fickle(old, [])
    set_budgets(there, lines_of(old, new), old)
    assert [cell.segment for cell in there.order] == ["s1", "s3", "s2", "s0"]


def test_a_raise_without_room_is_held_back_and_one_with_room_is_made() -> None:
    old, new = money("10", "10", "10", "10"), money("13", "7", "12", "8")
    there = Fickle(old, ["r"])  # the cut of 3 fails, the one of 2 is made
    errors = set_budgets(there, lines_of(old, new), old)
    assert errors == {CELLS[1]: "no", CELLS[0]: HELD_BACK}
    assert there.stands == money("10", "10", "12", "8")


def test_a_cut_that_was_lost_but_done_lets_the_raise_through() -> None:
    old, new = money("10", "10"), money("13", "7")
    there = Fickle(old, ["l"])
    assert set_budgets(there, lines_of(old, new), old) == {CELLS[1]: "lost"}
    assert there.stands == new
